"""szilard decode: netCDF, plain zarr and .npy with the values of the store, complete or not there."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")
pytest.importorskip("netCDF4", reason="pip install 'szilard[field]'")

import xarray as xr
from cli_tools import szilard
from field_files import netcdf, quick_fits
from field_stores import dataset

from szilard.fields import ZarrField, calls


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decode")
    data = dataset()
    data["t"][3, 4] = np.nan
    data["m"] = abs(data.t.mean("time")) + 1
    data["v"] = data.u.astype("float32")
    with pytest.MonkeyPatch.context() as patch:
        quick_fits(patch)
        netcdf(folder / "in.nc", data)
        bounds = [word for one in ("t=0.05", "u=relative:0.01", "v=map:m") for word in ("--bound", one)]
        typed = szilard("encode", folder / "in.nc", "-o", folder / "s.zarr", *bounds, "--chunks", "time=3")
    assert typed.code == 0, typed.output
    return folder / "s.zarr"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_netcdf_keeps_what_netcdf_has(monkeypatch):
    import netCDF4

    quick_fits(monkeypatch)
    data = dataset().drop_vars("label").assign_coords(height=2.0)
    data["lat"].attrs["bounds"], data["lat_bnds"] = "lat_bnds", (("lat", "two"), np.zeros((20, 2)))
    data.to_netcdf("in.nc", unlimited_dims=["time"])
    assert szilard("encode", "in.nc", "-o", "s.zarr", "--bound", "t=0.05").code == 0
    assert szilard("decode", "s.zarr", "-o", "o.nc").code == 0
    assert szilard("decode", "s.zarr", "-o", "t.nc", "--variable", "t").code == 0
    with netCDF4.Dataset("o.nc") as file:
        assert [name for name, one in file.dimensions.items() if one.isunlimited()] == ["time"]
        assert "szilard_unlimited" not in file.ncattrs()
        filled = {name for name, one in file.variables.items() if "_FillValue" in one.ncattrs()}
        assert filled == {"t", "u"}
        named = {n: one.coordinates for n, one in file.variables.items() if "coordinates" in one.ncattrs()}
        assert named == {"t": "area height", "u": "area height", "n": "height"}
        assert "coordinates" not in file.ncattrs()
        assert (file["t"].filters()["zlib"], file["t"].filters()["complevel"]) == (True, 4)
        assert file["t"].chunking() == [10, 20, 36]
    with netCDF4.Dataset("t.nc") as file:
        assert set(file["t"].coordinates.split()) <= set(file.variables)
    assert szilard("verify", "s.zarr", "--original", "in.nc").code == 0
    with xr.open_dataset("o.nc") as found:
        assert abs(found.t - data.t).max() <= 0.05


@pytest.mark.parametrize("name", ["o.nc", "o.zarr"])
def test_values_coordinates_and_attributes_are_kept(store, name):
    typed = szilard("decode", store, "-o", name)
    assert typed.code == 0, typed.output
    assert "note" not in typed.output
    found, wanted = xr.open_dataset(name), xr.open_zarr(store)
    assert not any(isinstance(one.encoding.get("serializer"), ZarrField) for one in found.variables.values())
    assert [found[key].attrs.pop("szilard_bound") for key in "tuv"] == ["0.05 K", "relative:0.01", "map:m"]
    wanted.v.attrs.pop("szilard_bound")
    xr.testing.assert_identical(found.load(), wanted.load())
    assert {key: one.dtype for key, one in found.data_vars.items()} == {
        key: one.dtype for key, one in wanted.data_vars.items()
    }


def test_one_variable(store):
    assert szilard("decode", store, "-o", "t.npy", "--variable", "t", "-q").stdout == "t.npy\n"
    np.testing.assert_array_equal(np.load("t.npy"), xr.open_zarr(store).t.values)
    assert szilard("decode", store, "-o", "t.nc", "--variable", "t", "--variable", "n").code == 0
    assert set(xr.open_dataset("t.nc").data_vars) == {"t", "n"}


def test_json(store):
    found = json.loads(szilard("decode", store, "-o", "o.nc", "--json", "--variable", "t").stdout)
    assert found["file"] == "o.nc"
    assert found["bytes"] == os.path.getsize("o.nc")
    assert found["variables"][0] == "t"


def test_attributes_that_netcdf_lacks_become_text(store, tmp_path, monkeypatch):
    quick_fits(monkeypatch)
    data = dataset().assign_attrs(options={"a": [1, None]}, flag=True, numbers=[1, 2])
    data.szilard.to_zarr(tmp_path / "a.zarr", {"t": 0.05})
    typed = szilard("decode", "a.zarr", "-o", "a.nc")
    assert typed.output.count("became text") == 2
    found = xr.open_dataset("a.nc")
    assert json.loads(found.attrs["options"]) == {"a": [1, None]}
    assert list(found.attrs["numbers"]) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "o.txt"], "o.txt has an ending of no known format; end it in .nc, .zarr or .npy"),
        (["-o", "o.npy"], "o.npy can hold one variable, and there are .*; choose one with --variable"),
        (["-o", "o.nc", "--variable", "w"], "has no variable w; it has m, n, t, u, v"),
        (["-o", "none/o.nc"], "in a folder that does not exist"),
    ],
)
def test_what_is_refused_leaves_nothing(store, tmp_path, arguments, sentence):
    szilard("decode", store, *arguments).refused(sentence)
    assert not list(tmp_path.iterdir())


def test_other_inputs_are_refused(store, tmp_path):
    szilard("decode", store.parent / "in.nc", "-o", "o.nc").refused("in.nc is not a zarr store")
    szilard("decode", "none", "-o", "o.nc").refused("none does not exist")
    szilard("decode", store, "-o", store / "o.nc").refused("o.nc is inside")


def test_a_file_in_the_way_is_kept_unless_it_is_to_be_replaced(store, tmp_path):
    (tmp_path / "o.nc").write_text("the original")
    szilard("decode", store, "-o", "o.nc").refused(
        "o.nc exists; name another place with --out, or add --overwrite"
    )
    assert (tmp_path / "o.nc").read_text() == "the original"
    assert szilard("decode", store, "-o", "o.nc", "--overwrite").code == 0
    (tmp_path / "o.zarr").mkdir()
    (tmp_path / "o.zarr" / "old").write_text("")
    assert szilard("decode", store, "-o", "o.zarr", "--overwrite").code == 0
    assert not (tmp_path / "o.zarr" / "old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.nc", "o.zarr"]


@pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")
@pytest.mark.parametrize("name", ["o.nc", "o.zarr", "o.npy"])
@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device")], ids=["stopped", "full"])
def test_a_decode_that_fails_leaves_nothing(store, tmp_path, monkeypatch, name, error):
    whole, count = calls.decoded, iter(range(2))

    def decoded(*given):
        if next(count, None) is None:
            if error is not None:
                raise error
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.2)
        return whole(*given)

    monkeypatch.setattr(calls, "decoded", decoded)
    # A test run that a shell started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        typed = szilard("decode", store, "-o", name, "--variable", "t", "--workers", 1)
    finally:
        signal.signal(signal.SIGINT, before)
    if error is not None:
        typed.refused(f"the disk is full: {name} could not be written")
    else:
        assert typed.code == 130
        assert f"interrupted; {name} was not written" in typed.output
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
@pytest.mark.parametrize("name", ["o.nc", "o.npy"])
def test_a_file_size_limit_of_the_operating_system(store, tmp_path, name):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        typed = szilard("decode", store, "-o", name, "--variable", "t")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    typed.refused(f"{name} could not be written")
    assert not list(tmp_path.iterdir())
