"""Values that were rounded before and are saved again."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import xarray as xr
from field_stores import codecs, dataset

from szilard import fields
from szilard.codec import Bound
from szilard.errors import SzilardWarning
from szilard.fields import rounded

FIT = codecs(t=1, u=1)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(rounded, "_said", set())
    fields.write(dataset(), tmp_path / "s", {"t": 0.05, "u": "relative:0.01"}, fit=FIT)
    return xr.open_zarr(tmp_path / "s")


def test_a_write_of_rounded_values_names_both_bounds(store, tmp_path):
    with pytest.warns(
        SzilardWarning, match="t was rounded before, with the bound 0.05, and is now rounded with 0.1 K"
    ):
        fields.write(store, tmp_path / "r", {"t": 0.1}, fit=FIT)
    with pytest.warns(SzilardWarning, match="u was rounded before, with the bound 1 % of each value"):
        store[["u"]].isel(time=slice(4)).szilard.to_zarr(tmp_path / "v", 0.1, fit=FIT)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        fields.write(dataset(), tmp_path / "o", {"t": 0.1}, fit=FIT)


def test_xarray_saves_rounded_values_with_one_warning(store, tmp_path):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        store[["t"]].to_zarr(tmp_path / "r", consolidated=False)
        store[["t"]].isel(time=slice(5)).to_zarr(tmp_path / "v", consolidated=False)
    said = [str(one.message) for one in found if issubclass(one.category, SzilardWarning)]
    assert len(said) == 1
    assert "drop_encoding()" in said[0]


def test_values_that_were_not_rounded_save_without_a_warning(store, tmp_path):
    changed = store[["t"]].load()
    changed["t"][...] = dataset()["t"].values
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        changed.to_zarr(tmp_path / "r", consolidated=False)
        store.drop_encoding()[["t"]].to_zarr(tmp_path / "v", consolidated=False)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_only_points_of_the_lattice_itself_count(dtype):
    r = np.random.default_rng(0)
    unit = Bound(0.05).unit
    points = (r.integers(-100_000, 100_000, 5000) * unit).astype(dtype)
    assert rounded.on_lattice(points, unit)
    assert rounded.on_lattice(np.append(points, [np.nan, np.inf]).astype(dtype), unit)
    other = points.copy()
    other[4500] += 0.4 * unit
    assert not rounded.on_lattice(other, unit)
    assert not rounded.on_lattice(points[:63], unit)
    assert not rounded.on_lattice(np.full(100, points[0]), unit)
    assert not rounded.on_lattice(r.integers(0, 99, 100).astype(dtype), Bound(0.5).unit)
    assert not rounded.on_lattice((280 + r.normal(size=100)).astype("f4"), Bound(1e-4).unit)


def test_another_order_of_bytes_is_no_packing(tmp_path):
    data = dataset()[["t"]]
    data["t"].encoding["dtype"] = np.dtype(">f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error", SzilardWarning)
        fields.write(data, tmp_path / "s", 0.05, fit=FIT)
