"""szilard encode: stores within their bounds, what is printed, and what is refused before anything is written."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")
pytest.importorskip("netCDF4", reason="pip install 'szilard[field]'")

import xarray as xr
from cli_tools import szilard
from field_files import netcdf, quick_fits
from field_stores import dataset, smooth

from szilard.cli import output

CHUNKS = ("--chunks", "time=4")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    quick_fits(monkeypatch)
    monkeypatch.chdir(tmp_path)
    netcdf(tmp_path / "in.nc")


def encode(*arguments):
    return szilard("encode", *arguments)


def error(name, store="s.zarr"):
    return float(abs(xr.open_zarr(store)[name] - dataset()[name]).max())


def test_a_netcdf_file_becomes_a_store_within_its_bounds():
    typed = encode("in.nc", "-o", "s.zarr", "--bound", "t=0.05", "--bound", "u=range:1e-3", *CHUNKS)
    assert typed.code == 0, typed.output
    assert 0 < error("t") <= 0.05
    assert 0 < error("u") <= 1e-3 * float(dataset().u.max() - dataset().u.min())
    found = xr.open_zarr("s.zarr")
    assert found.t.chunks[0] == (4, 4, 2)
    xr.testing.assert_identical(found.drop_vars(["t", "u"]).compute(), dataset().drop_vars(["t", "u"]))
    assert found.t.attrs == dataset().t.attrs
    assert "0.05 K" in typed.output
    assert "m s-1" in typed.output
    assert "Stored exactly: n, time, lat, lon, area, label." in typed.output


def test_a_star_is_every_other_float_variable():
    typed = encode("in.nc", "-o", "s.zarr", "--bound", "t=0.05", "--bound", "*=relative:0.01", "--json")
    found = json.loads(typed.stdout)
    assert [(one["name"], one["stated"]) for one in found["variables"]] == [
        ("t", "0.05"),
        ("u", "relative:0.01"),
    ]
    assert found["exact"] == ["n", "time", "lat", "lon", "area", "label"]
    assert found["bytes"] < found["raw_bytes"]


def test_a_map_is_another_variable(tmp_path):
    data = dataset().assign(spread=abs(dataset().t.mean("time")) + 0.1)
    netcdf(tmp_path / "in.nc", data)
    assert encode("in.nc", "-o", "s.zarr", "--bound", "t=map:0.5*spread", "-q").stdout == "s.zarr\n"
    stored = xr.open_zarr("s.zarr")
    assert (abs(stored.t - data.t) <= 0.5 * data.spread).all()
    assert szilard("verify", "s.zarr", "--original", "in.nc").code == 0


def test_a_zarr_store_is_an_input():
    dataset().drop_vars("label").to_zarr("in.zarr", zarr_format=2, consolidated=False)
    assert encode("in.zarr", "-o", "s.zarr", "--bound", "t=0.05").code == 0
    assert 0 < error("t") <= 0.05


def test_an_array_needs_no_name():
    array = smooth(6, 20, 30, dtype=np.float64)
    np.save("a.npy", array)
    assert encode("a.npy", "-o", "s.zarr", "--bound", "0.01", "--chunks", "dim_0=3", "--periodic").code == 0
    stored = xr.open_zarr("s.zarr").data
    assert 0 < abs(stored.values - array).max() <= 0.01
    assert stored.encoding["serializer"].codec.periodic


def test_packed_sources_are_a_note():
    netcdf_of = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -32768}
    dataset().to_netcdf("in.nc", engine="netcdf4", encoding={"t": netcdf_of})
    typed = encode("in.nc", "-o", "s.zarr", "--bound", "t=0.05")
    assert "note: t was packed as int16 in the file that it came from" in typed.output
    assert "arning" not in typed.output
    (note,) = json.loads(encode("in.nc", "-o", "r.zarr", "--bound", "t=0.05", "--json").stdout)["notes"]
    assert note.startswith("t was packed")


def test_chunks_that_are_stored_exactly_are_a_note():
    data = dataset()
    data["t"][4:8] = np.random.default_rng(0).normal(size=(4, 20, 36)) * 1e6
    netcdf("in.nc", data)
    found = json.loads(encode("in.nc", "-o", "s.zarr", "--bound", "t=1e-6", *CHUNKS, "--json").stdout)
    (one,) = found["variables"]
    assert 0 < one["exact_chunks"] <= one["n_chunks"] == 3
    assert found["notes"] == [
        f"{one['exact_chunks']} of 3 chunks of t are stored exactly, because coding them would not be smaller"
    ]
    assert "stored exactly, because" not in encode("in.nc", "-o", "r.zarr", "--bound", "t=range:1e-3").output


def test_durations_are_numbers_with_a_bound():
    data = dataset()
    data["u"].attrs["units"] = "s"
    netcdf("in.nc", data)
    assert encode("in.nc", "-o", "s.zarr", "--bound", "u=0.05").code == 0
    stored = xr.open_dataset("s.zarr", engine="zarr", decode_timedelta=False)
    assert abs(stored.u - data.u).max() <= 0.05


def test_groups_that_are_left_out_are_named():
    import netCDF4

    with netCDF4.Dataset("in.nc", "a") as file:
        file.createGroup("forecast")
    assert (
        "note: groups are left out: forecast" in encode("in.nc", "-o", "s.zarr", "--bound", "t=0.05").output
    )


def test_the_table_fits_80_columns(monkeypatch):
    monkeypatch.setattr(output, "columns", lambda stream: 80)
    monkeypatch.setenv("TERM", "dumb")
    typed = encode("in.nc", "-o", "s.zarr", "--bound", "t=0.05", "--bound", "u=relative:0.001", *CHUNKS)
    assert max(map(len, typed.output.splitlines())) <= 80
    for word in ("variable", "bound", "raw", "stored", "ratio", "4x20x36", "28.8 kB", "0.1 % of each value"):
        assert word in typed.output or word == "variable"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bound", "t=0"], "the bound of t must be positive and finite, not 0"),
        (["--bound", "t=-1"], "positive and finite, not -1"),
        (["--bound", "t=nan"], "positive and finite, not nan"),
        (["--bound", "t=warm"], "the bound of t must be a number, .* not 'warm'"),
        (["--bound", "t="], "--bound must be NAME=B, such as t=0.05, not 't='"),
        (["--bound", "t=1", "--bound", "t=2"], "--bound is typed twice for t"),
        (["--bound", "t2m=1"], "there is no variable t2m to bound; the dataset has t, u, n"),
        (["--bound", "n=1"], "n is int16, and bounds are for float32 and float64"),
        (["--bound", "lat=1"], "lat is a coordinate, which is stored exactly"),
        (["--bound", "0.1"], r"names no variable; type --bound NAME=B, .*; in.nc has t \(K\), u \(m s-1\)"),
        ([], r"no bound was given; .* --bound t=0.05, .*; in.nc has t \(K\), u \(m s-1\)"),
        (["--bound", "t=map:v"], "there is no variable v for the bounds of t"),
        (["--bound", "t=1", "--chunks", "time"], "--chunks must be DIM=N"),
        (["--bound", "t=1", "--chunks", "time=0"], "--chunks must be DIM=N"),
        (["--bound", "t=1", "--chunks", "time=1,time=2"], "--chunks names time twice"),
        (["--bound", "t=1", "--chunks", "hour=2"], "--chunks names the dimension hour, which is not there"),
        (["--bound", "t=1", "--effort", "-1"], "--effort must be finite and not negative"),
        (["--bound", "t=1", "--workers", "0"], "--workers must be at least 1"),
        (["--bound", "t=1", "--resume", "--overwrite"], "give one of --resume and --overwrite"),
        (["--bound", "t=1", "-o", "."], "has no name"),
        (["--bound", "t=1", "-o", "in.nc"], "in.nc is what this command reads"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, options, sentence):
    options = options if "-o" in options else [*options, "-o", "s.zarr"]
    encode("in.nc", *options).refused(sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["in.nc"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"words", "a.txt is not a netCDF file, a zarr store or a .npy array"),
        ("a.grib", b"GRIB....", "a.grib is a GRIB file; convert it to netCDF first"),
        ("a.nc", b"\x89HDF\r\n\x1a\nno", "a.nc cannot be opened .*; it may be damaged"),
        ("a.npy", b"\x93NUMPY\x01", "a.npy is not a .npy file of numbers"),
        ("none.nc", None, "there is no file none.nc"),
        ("folder", ..., "folder is a folder, but not a zarr store"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path, name, content, sentence):
    if content is ...:
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    encode(name, "-o", "s.zarr", "--bound", "1").refused(sentence)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize("dtype", [np.complex64, np.int32, np.float16, bool])
def test_arrays_of_other_numbers_are_refused(dtype):
    np.save("a.npy", np.ones((4, 5), dtype))
    encode("a.npy", "-o", "s.zarr", "--bound", "1").refused(
        f"data is {np.dtype(dtype)}, and bounds are for float32"
    )


def test_a_store_in_the_way_is_refused_or_replaced():
    first = ("in.nc", "-o", "s.zarr", "--bound", "t=0.05", "-q")
    assert encode(*first).code == 0
    encode(*first).refused("s.zarr exists; name another folder, or add --overwrite")
    encode("s.zarr", "-o", "s.zarr/inside", "--bound", "t=1").refused("s.zarr/inside is inside s.zarr")
    netcdf("s.zarr/in.nc")
    encode("s.zarr/in.nc", "-o", "s.zarr", "--bound", "t=1", "--overwrite").refused(
        "s.zarr contains s.zarr/in.nc"
    )
    assert encode(*first, "--overwrite", "--bound", "u=1").code == 0
    assert error("u") > 0


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "szilard.fields")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "dask" else find(name, *more)
    )
    encode("in.nc", "-o", "s.zarr", "--bound", "t=1").refused(
        r"needs dask; .* pip install 'szilard\[field\]'"
    )
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "netCDF4" else find(name, *more)
    )
    encode("in.nc", "-o", "s.zarr", "--bound", "t=1").refused(
        r"need netCDF4; .* pip install 'szilard\[field\]'"
    )
