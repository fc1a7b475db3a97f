"""szilard verify and inspect of a store: errors in bounds, damaged chunks, bits of each part."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")
pytest.importorskip("netCDF4", reason="pip install 'szilard[field]'")

import xarray as xr
from cli_tools import szilard
from field_files import netcdf, quick_fits
from field_stores import dataset

from szilard.cli import output


@pytest.fixture
def store(tmp_path, monkeypatch):
    quick_fits(monkeypatch)
    monkeypatch.chdir(tmp_path)
    netcdf(tmp_path / "in.nc")
    typed = szilard("encode", "in.nc", "-o", "s.zarr", "--bound", "t=0.05", "--bound", "u=range:1e-3", "--chunks",
                    "time=4")  # fmt: skip
    assert typed.code == 0, typed.output
    return tmp_path / "s.zarr"


def figures(*arguments, code=0):
    typed = szilard(*arguments, "--json")
    assert typed.code == code, typed.output
    return json.loads(typed.stdout)


def test_every_value_is_compared(store):
    found = figures("verify", store, "--original", "in.nc")
    t, u = found["variables"]
    assert found["ok"]
    assert (t["name"], t["values"], t["beyond"], t["moved"]) == ("t", 7200, 0, 0)
    assert 0.5 < t["largest"] <= 1
    assert t["error"] == pytest.approx(float(abs(xr.open_zarr(store).t - dataset().t).max()), rel=1e-5)
    assert u["bound"].endswith("m s-1")
    text = szilard("verify", store, "--original", "in.nc").output
    assert "Equal: n, time, lat, lon, area, label." in text
    assert "Every value is within its bound." in text


def test_a_violation_is_exit_code_1(store, tmp_path):
    data = dataset()
    data["t"][2, 3, 4] += 10
    data["u"][0, 0, 0] = np.nan
    data["n"][0] = 7
    netcdf(tmp_path / "other.nc", data.assign(new=data.n))
    found = figures("verify", store, "--original", "other.nc", code=1)
    t, u = found["variables"]
    assert (t["beyond"], t["ok"], u["beyond"], u["moved"], u["ok"]) == (1, False, 0, 1, False)
    assert t["error"] == pytest.approx(10, abs=0.06)
    assert t["largest"] == pytest.approx(200, abs=1.1)
    assert (found["changed"], found["missing"], found["ok"]) == (["n"], ["new"], False)
    typed = szilard("verify", store, "--original", "other.nc")
    assert typed.code == 1
    for sentence in ("DIFFERENT, although they are stored exactly: n.", "MISSING in the store: new.", "1 differ",
                     "does not keep what it promises"):  # fmt: skip
        assert sentence in typed.output


def test_an_original_without_the_variable_is_refused(store, tmp_path):
    netcdf(tmp_path / "less.nc", dataset().drop_vars("t"))
    szilard("verify", store, "--original", "less.nc").refused(
        "less.nc has no variable t, which .* holds with a bound"
    )


def test_every_chunk_is_decoded(store):
    found = figures("verify", store)
    assert found["whole"]
    coded = {one["name"]: one["chunks"] for one in found["variables"] if one["coded"]}
    assert coded == {"t": 3, "u": 3}
    assert "every chunk was decoded" in szilard("verify", store).output


@pytest.mark.parametrize("how", ["cut", "changed", "missing"])
def test_a_damaged_chunk_is_named(store, how):
    chunk = store / "t" / "c" / "1" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    if how == "missing":
        chunk.unlink()
    else:
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data[:-20] if how == "cut" else data)
    said = "1 of 3 chunks of t are damaged or missing, such as .*t/c/1/0/0"
    szilard("verify", store).refused(said)
    if how != "missing":
        szilard("verify", store, "--original", "in.nc").refused(said)


def test_bits_add_up_to_the_bytes_of_the_store(store):
    found = figures("inspect", store)
    for one in found["variables"]:
        files = [path for path in (store / one["name"]).rglob("*") if path.is_file()]
        assert one["bytes"] == sum(path.stat().st_size for path in files)
        assert one["metadata"] + sum(one["parts"].values()) == one["bytes"]
        assert sum(one["modes"].values()) == 3
    assert set(found["exact"]) == {"n", "time", "lat", "lon", "area", "label"}
    lines = szilard("inspect", store).output.splitlines()
    (whole,) = [line.split() for line in lines if line.startswith("all ")]
    (symbols,) = [line.split() for line in lines if line.startswith("symbols ")]
    t = found["variables"][0]
    assert float(whole[1]) == pytest.approx(8 * t["bytes"] / 7200, abs=1e-4)
    assert float(symbols[1]) == pytest.approx(8 * t["parts"]["symbols"] / 7200, abs=1e-4)


@pytest.mark.parametrize("columns", [60, 80])
def test_tables_fit(store, monkeypatch, columns):
    monkeypatch.setattr(output, "columns", lambda stream: columns)
    monkeypatch.setenv("TERM", "dumb")
    for arguments in (
        ["verify", store.name],
        ["verify", store.name, "--original", "in.nc"],
        ["inspect", store.name],
    ):
        typed = szilard(*arguments)
        assert typed.code == 0, typed.output
        assert max(map(len, typed.output.splitlines())) <= columns
    assert "symbols" in typed.output


def test_many_variables_have_a_row_each(tmp_path, monkeypatch):
    quick_fits(monkeypatch)
    data = xr.Dataset({f"v{n}": dataset().t for n in range(6)})
    data.szilard.to_zarr(tmp_path / "m.zarr", 0.05)
    text = szilard("inspect", tmp_path / "m.zarr").output
    assert all(text.count(f"\nv{n} ") == 2 for n in range(6))


def test_options_of_the_other_kind_are_refused(store, tmp_path):
    szilard("verify", store, "--against", "in.nc").refused(
        "is a store of fields; compare it with --original FILE"
    )
    szilard("verify", "in.nc", "--original", "in.nc").refused("in.nc is not a store of fields")
    (store / "zarr.json").write_text("{")
    szilard("verify", store).refused("cannot be opened|not a zarr store")
    szilard("inspect", store).refused("is not a zarr store that can be read")
