"""The judge, layouts, stores and generated arrays of benchmarks/field.py, against answers that are known."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from climate import decoders, fields, fit_once, generated, judging, memory, ours, peers, promises, stores
from climate.layouts import Layout, layouts
from szilard.codec.weights import Weights

ULP = 2.0**-52


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_judge_counts_values_beyond_an_absolute_bound(dtype):
    original = np.array([1.0, 2.0, 3.0, 4.0], dtype)
    decoded = np.array([1.25, 1.75, 3.5, 4.0], dtype)
    assert judging.violations(original, decoded, 0.25) == 1
    assert judging.violations(original, decoded, 0.5) == 0
    assert judging.violations(original, decoded, np.nextafter(0.25, 0)) == 3
    assert judging.violations(original, decoded.reshape(2, 2), 9.0) == 4
    assert judging.violations(original, decoded.astype(np.float16), 9.0) == 4
    assert judging.largest_error(original, decoded) == 0.5


def test_the_judge_is_exact_where_doubles_round():
    original, decoded = np.array([1.0]), np.array([-(2.0**-60)])
    assert original - decoded == 1.0  # in doubles
    assert judging.violations(original, decoded, 1.0) == 1
    assert judging.violations(original, -decoded, 1.0) == 0
    assert judging.violations(np.array([2.0**60]), np.array([2.0**60 - 2.0**8]), 256.0) == 0


def test_a_relative_bound_is_of_the_magnitude():
    original = np.array([-100.0, 1e-300, 0.0, 3 * 5e-324])
    assert judging.violations(original, np.array([-101.0, 1.01e-300, 0.0, 3 * 5e-324]), 0.011, True) == 0
    assert judging.violations(original, np.array([-101.0, 1e-300, 0.0, 3 * 5e-324]), 0.009, True) == 1
    assert judging.violations(original, np.array([-100.0, 1e-300, 5e-324, 3 * 5e-324]), 0.5, True) == 1
    # A fifth of three of the smallest numbers is no number; the difference of one of them is more than that.
    assert judging.violations(original, np.array([-100.0, 1e-300, 0.0, 4 * 5e-324]), 0.2, True) == 1
    third = 1 / 3  # a little less than a third
    assert Fraction(third) < Fraction(1, 3)
    assert judging.violations(np.array([3.0]), np.array([4.0]), third, True) == 1


def test_a_map_has_a_bound_for_each_value():
    original, decoded = np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert judging.violations(original, decoded, np.array([[1.0, 1.0], [3.5, 3.5]])) == 2
    assert judging.violations(original, decoded, decoded) == 0


def test_values_that_are_not_finite_must_stay():
    original = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert judging.violations(original, original.copy(), 1e300) == 0
    assert judging.violations(original, np.array([0.0, np.inf, -np.inf, 1.0]), 1e300) == 1
    assert judging.violations(original, np.array([np.nan, -np.inf, 1e308, np.nan]), 1e300) == 3


@pytest.mark.parametrize("most", [2, 3, 4])
def test_every_layout_goes_back(most):
    array = np.arange(2 * 3 * 2 * 4 * 5, dtype=np.float32).reshape(2, 3, 2, 4, 5)
    found = [layout for layout in layouts(3, most) if layout.ndim <= most]
    assert len(found) == len(set(found)) == {2: 1, 3: 16, 4: 34}[most]
    for layout in found:
        parts = layout.arranged(array)
        assert parts.ndim == 1 + layout.ndim
        assert np.array_equal(layout.restored(parts, array.shape), array)


def test_a_stack_is_in_its_order():
    array = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)
    assert Layout((), (1, 0)).arranged(array).ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert Layout((1,), (0,)).arranged(array).shape == (3, 2, 1, 1)
    assert Layout((), (1, 0), 1).arranged(array).shape == (1, 3, 2, 1, 1)
    names = ("month", "level", "latitude", "longitude")
    assert Layout((0, 1), ()).name(names) == "2-D slices"
    assert Layout((), (1, 0)).name(names) == "3-D, level and month"
    assert Layout((), (1, 0), 1).name(names) == "4-D, level by month"


def test_stores_count_metadata():
    array = np.zeros((2, 3, 4, 5), np.float32)
    names = ("a", "b", "y", "x")
    text = stores.metadata(array, (1, 1, 4, 5), "sz3", {"tolerance": 0.5}, names)
    assert json.loads(text)["codecs"] == [{"name": "sz3", "configuration": {"tolerance": 0.5}}]
    assert stores.peer_bytes(array, [b"123"] * 6, "sz3", {"tolerance": 0.5}, names) == len(text) + 18
    assert json.loads(text)["dimension_names"] == list(names)


def test_metadata_are_those_of_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    array, names = np.zeros((2, 4, 5), np.float32), ("level", "latitude", "longitude")
    zarr.create_array(
        tmp_path / "a", shape=array.shape, dtype="float32", chunks=(1, 4, 5), compressors=None, fill_value=np.nan,
        attributes={"_FillValue": "AAAAAAAA+H8="}, dimension_names=names,
    )  # fmt: skip
    written = (tmp_path / "a" / "zarr.json").read_bytes()
    assert stores.metadata(array, (1, 4, 5), "bytes", {"endian": "little"}, names) == written


def test_bitround_keeps_the_fewest_bits_of_the_bound():
    pytest.importorskip("numcodecs")
    array = np.linspace(1, 2, 100, dtype=np.float32)[:-1]
    assert peers.fewest_bits(array, 2.0**-5) == 4
    assert peers.fewest_bits(array, 0.0) == 23
    for peer in (peer for peer in peers.peers() if peer.codec == "BitRound + zstd"):
        decoded = peer.decode(peer.encode(array, 4), array.shape)
        assert 2.0**-6 < np.abs(decoded - array).max() <= 2.0**-5
        assert len(np.unique(decoded)) == 17


def test_generated_arrays_are_of_all_kinds():
    cases = [generated.case(number) for number in range(300)]
    again = generated.case(17)
    assert np.array_equal(again.array, cases[17].array, equal_nan=True)
    assert again.bound == cases[17].bound
    assert {case.array.ndim for case in cases} == {1, 2, 3, 4, 5}
    assert {case.array.dtype.itemsize for case in cases} == {4, 8}
    assert {case.relative for case in cases} == {False, True}
    assert any(np.isnan(case.array).any() for case in cases)
    assert any(np.isinf(case.array).any() for case in cases)
    assert any(1 in case.array.shape and case.array.ndim > 1 for case in cases)
    maps = [case for case in cases if case.bounds is not None]
    assert all(case.bounds.shape == case.array.shape and (case.bounds >= case.bound).all() for case in maps)
    assert 30 < len(maps) < 120
    assert all(case.bound > 0 and np.isfinite(case.bound) for case in cases)


def test_the_promise_is_judged_and_a_broken_one_is_found(monkeypatch):
    few = [Weights(promises.made(0, 0.003), dict.fromkeys(promises.STEPS, 0))]
    monkeypatch.setattr(promises, "networks", lambda: few)
    found = promises.measured(100, 20)
    assert (found["arrays"], found["violations"]) == (20, 0)
    decode = promises.FieldCodec.decode
    monkeypatch.setattr(promises.FieldCodec, "decode", lambda codec, data: -decode(codec, data) - 1)
    assert promises.measured(100, 20)["violations"] > 0


def test_decoders_are_identical_if_all_streams_are():
    rows = [{"decoder": name, "threads": 1, "crcs": {"a": 1, "b": 2}} for name in ("numpy", "avx2")]
    assert decoders.identical(rows)
    assert not decoders.identical(rows[:1])
    assert not decoders.identical([rows[0], {**rows[1], "crcs": {"a": 1, "b": 3}}])


def test_growth_is_of_the_largest_store_over_the_smallest():
    rows = [{"megabytes": 8000, "peak_mb": 210.0}, {"megabytes": 2000, "peak_mb": 200.0}]
    assert memory.growth_percent(rows) == pytest.approx(5)
    assert memory.growth_percent(rows[:1]) is None


def test_pictures_are_packed_in_few_bytes():
    values = np.linspace(-1, 1, 255).reshape(5, 51)
    again = ours.unpacked(json.loads(json.dumps(ours.packed(values))))
    assert again == pytest.approx(values, abs=0.5 / 127)


def test_noise_is_periodic_and_smooth():
    noise = fields.smooth_noise((64, 128), 5.0, 1)
    assert noise.dtype == np.float32
    assert np.abs(noise).max() == pytest.approx(5.0)
    around = np.abs(noise[:, 0] - noise[:, -1]).mean()
    inside = np.abs(np.diff(noise, axis=1)).mean()
    assert around < 2 * inside < noise.std()


def test_cells_are_those_of_the_page():
    names = list(fields.BY_NAME)
    assert len(names) == len(fields.CELLS) == 17
    assert sum(name.startswith("ERA-Interim") and not fields.BY_NAME[name].beside for name in names) == 10
    assert set(fit_once.VARIABLES) == set(fields.SHARES["ERA-Interim"])
