"""Bounds as users state them: their forms, ranges, maps, and what is refused."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import numpy as np
import pytest

pytest.importorskip("xarray", reason="pip install 'szilard[field]'")
pytest.importorskip("zarr", reason="pip install 'szilard[field]'")

import xarray as xr
from field_stores import codecs, dataset

from szilard.codec import Bound
from szilard.errors import SzilardError, SzilardWarning
from szilard.fields import bounds, calls, check, write
from szilard.fields.limits import limits


@pytest.mark.parametrize(
    ("given", "kind", "size", "words"),
    [
        (0.5, "absolute", 0.5, "0.5"),
        (np.float32(2), "absolute", 2, "2"),
        (3, "absolute", 3, "3"),
        (" 0.05 ", "absolute", 0.05, "0.05"),
        ("1e-3", "absolute", 1e-3, "0.001"),
        ("absolute:2", "absolute", 2, "2"),
        ("relative:0.01", "relative", 0.01, "relative:0.01"),
        ("range: 1e-3", "range", 1e-3, "range:0.001"),
        ("map:std", "map", 1, "map:std"),
        ("map:0.5*std", "map", 0.5, "map:0.5*std"),
        (Bound(0.1, relative=True), "relative", 0.1, "relative:0.1"),
        (Bound(7), "absolute", 7, "7"),
    ],
)
def test_forms_of_a_bound(given, kind, size, words):
    stated = bounds.parse(given, "t")
    assert (stated.kind, stated.words) == (kind, words)
    assert stated.size == pytest.approx(size)
    assert bounds.parse(stated.words, "t") == stated


@pytest.mark.parametrize(
    "given",
    [
        0, -1, float("nan"), float("inf"), "0", "nan", "", "much", "relative:", "relative:1", "relative:0", "range:-1",
        "range:2", "map:", "map:x*std", "map:0*std", "map:inf*std", "other:1", True, None, [1], "relative:nan",
    ],
)  # fmt: skip
def test_what_is_no_bound_is_one_sentence_with_the_variable(given):
    with pytest.raises(SzilardError, match="t2m"):
        bounds.parse(given, "t2m")


def found(given, data=None):
    return limits(dataset() if data is None else data, given, 1)


def test_a_star_stands_for_every_other_float_variable():
    assert {name: one.bound for name, one in found({"*": 2, "t": "relative:0.1"}).items()} == {
        "t": Bound(0.1, relative=True), "u": Bound(2),
    }  # fmt: skip
    assert list(found(0.5)) == ["t", "u"]
    assert list(found({"u": 0.5})) == ["u"]


def test_a_star_leaves_out_bounds_of_cells_scalars_and_other_types():
    data = dataset()
    data["lat"].attrs["bounds"] = "edges"
    data["edges"] = (("lat", "two"), np.zeros((20, 2)))
    data["scalar"] = ((), 1.5)
    data["half"] = ("lat", np.zeros(20, np.float16))
    assert list(found(0.5, data)) == ["t", "u"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": 1}, "no variable x.*t, u, n"),
        ({"n": 1}, "n is int16"),
        ({"lat": 1}, "lat is a coordinate"),
        ({"c": 1}, "c is complex64"),
        ({"s": 1}, "s has no dimension"),
        ({"e": 1}, "e has no dimension or no values"),
        ({}, "no bound was given"),
        ({"t": "map:x"}, "no variable x for the bounds of t"),
        ({"t": "map:label"}, "must be of numbers"),
        ({"t": "map:longer"}, "has a dimension member"),
        ({"t": "map:zeros"}, "a bound that is 0"),
        ({"t": "map:gaps"}, "0, negative, NaN or infinite"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(given, said):
    data = dataset()
    data["c"] = ("lat", np.zeros(20, np.complex64))
    data["s"], data["e"] = ((), 1.0), ("none", np.zeros(0))
    data["longer"] = (("member", "lat"), np.ones((3, 20)))
    data["zeros"] = ("lat", np.where(np.arange(20) == 4, 0.0, 1.0))
    data["gaps"] = ("lat", np.where(np.arange(20) == 4, np.nan, 1.0))
    with pytest.raises(SzilardError, match=said):
        found(given, data)


def test_a_dataset_without_floats_is_refused():
    with pytest.raises(SzilardError, match="no variable of float32 or float64; it has n"):
        found(0.5, dataset()[["n"]])


@pytest.mark.parametrize("chunks", [None, {"time": 3, "lat": 7}])
def test_a_range_is_that_of_the_whole_variable_without_gaps(chunks):
    data = dataset()
    data["t"][0, 0, 0], data["t"][9, 3, 3], data["t"][4, 4, 4], data["t"][5] = 1000, -1000, np.inf, np.nan
    limit = found({"t": "range:1e-3"}, data if chunks is None else data.chunk(chunks))["t"]
    assert limit.bound.size == pytest.approx(2.0)
    assert limit.words == "2 K"


@pytest.mark.parametrize("value", [7.0, np.nan, np.inf])
def test_a_constant_has_no_range_and_is_stored_exactly(value):
    data = dataset()
    data["t"][...] = value
    with pytest.warns(SzilardWarning, match="t is stored exactly"):
        assert list(found("range:1e-3", data)) == ["u"]


def spread():
    data = dataset()
    data["spread"] = ("lat", "lon"), np.linspace(0.1, 0.5, 20 * 36).reshape(20, 36).astype("f4")
    return data


def test_a_map_is_laid_over_the_other_dimensions():
    data = spread()
    limit = found({"t": "map:0.5*spread"}, data)["t"]
    assert limit.bound.size == pytest.approx(0.05)
    assert limit.words == "0.5 times spread, at least 0.05 K"
    laid = np.asarray(limit.laid(data["t"].variable, (4, 9, 36)))
    np.testing.assert_array_equal(laid, np.broadcast_to(data["spread"], (10, 20, 36)))
    other = found({"t": data["spread"].T * 0.5}, data)["t"]
    np.testing.assert_allclose(np.asarray(other.laid(data["t"].variable, (4, 9, 36))), 0.5 * laid)


def test_a_map_may_have_gaps_where_the_values_have():
    data = spread()
    data["t"][:, 3, 3], data["spread"][3, 3] = np.nan, np.nan
    limit = found({"t": "map:spread"}, data)["t"]
    given = limit.of_block(data["spread"].values, data["t"].values[0])
    assert given[3, 3] == limit.bound.size
    assert np.isfinite(given).all()


def test_a_map_of_other_coordinates_or_lengths_is_refused():
    data = spread()
    with pytest.raises(SzilardError, match="other coordinates along lat"):
        found({"t": data["spread"][::-1]}, data)
    with pytest.raises(SzilardError, match="has 9 values along lat, and the variable has 20"):
        found({"t": xr.DataArray(np.ones(9), dims="lat")}, data)


def test_each_chunk_is_given_its_part_of_a_map(tmp_path, monkeypatch):
    data, given = spread().drop_vars("u"), []

    def encoded(codec, array, bounds=None):
        given.append((array.shape, bounds))
        return codec.encode(array)

    monkeypatch.setattr(calls, "encoded", encoded)
    write(
        data,
        tmp_path / "s",
        {"t": "map:0.5*spread"},
        chunks={"time": 10, "lat": 12},
        fit=codecs(t=0.05),
        workers=1,
    )
    assert [shape for shape, _ in given] == [(10, 12, 36)] * 2
    half = np.pad(data["spread"].values, ((0, 4), (0, 0)), mode="edge").astype("f8") * 0.5
    for n, (_, map_) in enumerate(sorted(given, key=lambda one: one[1][0, 0, 0])):
        np.testing.assert_array_equal(map_, np.broadcast_to(half[12 * n : 12 * n + 12], (10, 12, 36)))
    assert xr.open_zarr(tmp_path / "s")["t"].attrs["szilard_bound"] == "map:0.5*spread"
    done = check(tmp_path / "s", data)
    assert done.ok
    assert 0 < done.variables["t"].largest <= 1
    with pytest.raises(SzilardError, match=r"a map .map:0\.5.spread. that the original does not hold"):
        check(tmp_path / "s", data.drop_vars("spread"))
    assert not check(tmp_path / "s", data, {"t": 0.001}).ok


def test_errors_stay_within_a_map_and_use_it(tmp_path):
    data = spread()
    write(data, tmp_path / "s", {"t": "map:spread", "u": data["spread"]}, fit=codecs(t=1, u=1))
    done = check(tmp_path / "s", data, {"u": data["spread"]})
    assert done.ok
    error = abs(xr.open_zarr(tmp_path / "s")["t"] - data["t"])
    assert error.max() > 0.2
    with pytest.raises(SzilardError, match="give it as bound"):
        check(tmp_path / "s", data)


def test_a_fit_is_given_the_map_of_its_sample(tmp_path, monkeypatch):
    data = spread()[["t", "spread"]]
    monkeypatch.setattr("szilard.codec.candidates._FEWEST", 3)
    written = write(data, tmp_path / "s", {"t": "map:spread"}, effort=0.01)
    assert check(tmp_path / "s", data).ok
    assert written.variables["t"].stated == "map:spread"


def test_without_the_extra_there_is_a_sentence_with_the_pip_line(monkeypatch):
    whole = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xarray" else whole(name))
    monkeypatch.delitem(sys.modules, "szilard.fields")
    with pytest.raises(SzilardError, match=r"needs xarray; install it with: pip install 'szilard\[field\]'"):
        importlib.import_module("szilard.fields")
