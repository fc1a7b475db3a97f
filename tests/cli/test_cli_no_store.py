"""szilard verify, inspect and encode of what is no finished store of fields."""

from __future__ import annotations

import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import zarr
from cli_tools import szilard
from field_stores import dataset


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_store_that_is_not_there(command):
    szilard(command, "nosuch.zarr").refused(
        "nosuch.zarr does not exist; name a store that szilard encode has written"
    )


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_write_that_is_not_finished(tmp_path, command):
    (tmp_path / "s.zarr.unfinished" / "store").mkdir(parents=True)
    (tmp_path / "s.zarr.unfinished" / "lock").touch()
    said = "s.zarr.unfinished is a write that is not finished; type the same szilard encode command with --resume"
    szilard(command, "s.zarr.unfinished").refused(said)
    szilard("encode", "s.zarr.unfinished", "-o", "o.zarr", "--bound", "t=1").refused(said)
    assert not (tmp_path / "o.zarr").exists()


@pytest.mark.parametrize("arguments", [["verify"], ["inspect"], ["encode", "-o", "o.zarr", "--bound", "t=1"]])
def test_a_store_with_groups_alone(arguments):
    zarr.open_group("g.zarr", mode="w").create_group("forecast")
    szilard(*arguments, "g.zarr").refused(
        "g.zarr has no variables at its root, but the groups forecast; name one of them, such as g.zarr/forecast"
    )


def test_a_netcdf_file_with_groups_alone():
    netcdf4 = pytest.importorskip("netCDF4", reason="pip install 'szilard[field]'")
    with netcdf4.Dataset("g.nc", "w") as file:
        file.createGroup("forecast")
    szilard("encode", "g.nc", "-o", "o.zarr", "--bound", "t=1").refused(
        "but the groups forecast; name one of them, as a"
    )


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_zarr_format_2_is_refused(command):
    dataset().drop_vars("label").to_zarr("in.zarr", zarr_format=2, consolidated=False)
    szilard(command, "in.zarr").refused("in.zarr is a store in zarr format 2, and szilard writes format 3")
