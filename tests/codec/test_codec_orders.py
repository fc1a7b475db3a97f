"""Rasters and maps of bounds: which values are known, bounds that hold, and what they save."""

from __future__ import annotations

import numpy as np
import pytest
from field_inputs import coded_network, smooth
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import norm

from szilard.codec import Bound, FieldCodec, bound_map, opening, stream
from szilard.codec.layout import Layout
from szilard.codec.raster import raster_passes
from szilard.coding import CodingError
from szilard.errors import SzilardError
from szilard.kernels import native


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 7), (40, 64)])
def test_rasters_visit_every_value_once_and_use_known_ones(shape):
    known = np.zeros(shape[0] * shape[1], dtype=bool)
    known[0] = True
    for step in raster_passes(*shape):
        assert known[step.neighbours].all()
        assert not known[step.targets].any()
        known[step.targets] = True
    assert known.all()


@pytest.mark.skipif(not native.available(), reason="there are no C++ kernels")
def test_rasters_are_the_same_with_and_without_kernels(monkeypatch):
    array, bound = smooth(2, 40, 70), Bound(0.05)
    data = stream.encode(array, bound, coded_network(), raster=True)
    decoded = opening.decode(data)
    assert opening.order(data) == "raster"
    assert np.abs(decoded.astype(float) - array).max() <= 0.05
    monkeypatch.setattr(native, "available", lambda: False)
    assert stream.encode(array, bound, coded_network(), raster=True) == data
    assert opening.decode(data).tobytes() == decoded.tobytes()


def test_narrow_arrays_are_not_coded_as_rasters():
    for array in (smooth(5000), smooth(5, 900), smooth(900, 9)):
        data = stream.encode(array, Bound(0.05), coded_network(), raster=True)
        assert opening.order(data) != "raster"


def test_the_order_follows_the_field():
    r = np.random.default_rng(0)
    noise = lfilter([1], [1, -0.98], r.normal(size=(1, 90, 90)), axis=1)
    sheet = lfilter([1], [1, -0.98], noise, axis=2).astype(np.float32)
    assert FieldCodec.fit(sheet, Bound(0.1), effort=0.02).raster
    assert not FieldCodec.fit(smooth(1, 90, 90), Bound(0.01), effort=0.02).raster


def test_widths_of_bins_are_below_their_bounds():
    widths = bound_map.steps()
    exact = 1024 * 2.0 ** (np.arange(len(widths)) / bound_map.PER_OCTAVE)
    assert (widths % 2 == 1).all()
    assert (widths < exact).all()
    assert (widths > exact - 3).all()


@given(st.integers(1, 5), st.integers(0, 1 << 30), st.sampled_from(["smooth", "noise", "step", "same"]))
def test_values_keep_their_own_bounds(ndim, seed, kind):
    r = np.random.default_rng(seed)
    shape = tuple(r.integers(1, (200, 40, 12, 6, 5)[ndim - 1], ndim))
    array = (10 * r.normal(size=shape).cumsum(-1)).astype(np.float32)
    array[r.random(shape) < 0.05] = np.nan
    exponent = {
        "smooth": np.linspace(0, 6, array.size).reshape(shape),
        "noise": r.uniform(-1, 9, shape),
        "step": np.where(r.random(shape) < 0.5, 0.0, 30.0),
        "same": np.zeros(shape),
    }[kind]
    bounds = 0.01 * 2.0**exponent
    bound = Bound(float(bounds.min()))
    data = stream.encode(array, bound, coded_network(seed=seed % 5), raster=bool(seed % 2), bounds=bounds)
    found = opening.decode(data)
    finite = np.isfinite(array)
    assert (np.abs(found.astype(float) - array) <= bounds)[finite].all()
    assert np.isnan(found[~finite]).all()


@pytest.mark.parametrize("shape", [(9,), (5, 7), (3, 2, 21, 34)])
def test_maps_of_exponents_go_round(shape):
    r = np.random.default_rng(0)
    layout = Layout(shape, 0, False)
    for largest in (0, 3, bound_map.MOST):
        fine = r.integers(0, largest + 1, (layout.count, int(np.prod(layout.slice_shape))))
        coded = r.random(fine.shape) < 0.7
        data, found = bound_map.encode(fine, coded, layout)
        np.testing.assert_array_equal(bound_map.decode(data, layout), found)
        assert (found <= fine)[coded].all()
        for bad in (b"", b"\x09\x00", data[:2] + bytes(3), bytes([data[0], 7]) + data[2:]):
            with pytest.raises(CodingError):
                bound_map.decode(bad, layout)


def test_a_map_saves_what_its_wider_bounds_allow(monkeypatch):
    monkeypatch.setattr("szilard.codec.candidates._FEWEST", 10)
    array = smooth(4, 80, 90) + np.random.default_rng(1).normal(size=(4, 80, 90)).astype(np.float32)
    bounds = np.broadcast_to(0.05 * 2.0 ** np.linspace(0, 4, 90), array.shape)
    codec = FieldCodec.fit(array, Bound(0.05), bounds=bounds, effort=0.05)
    plain, mapped = len(codec.encode(array)), len(codec.encode(array, bounds))
    saved = 2 * array.size / 8  # two bits a value on average
    assert plain - mapped > 0.85 * saved
    assert opening.sizes(codec.encode(array, bounds))["map"] < 0.02 * mapped


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (np.full((4, 5), 0.04), "has the value 0.04; all must be finite and at least the bound 0.05"),
        (np.full((4, 5), np.nan), "has the value nan"),
        (np.full((4, 6), 0.05), r"must have the shape \(4, 5\), not \(4, 6\)"),
    ],
)
def test_maps_that_do_not_fit_are_refused(bounds, message):
    with pytest.raises(SzilardError, match=message):
        FieldCodec(Bound(0.05)).encode(smooth(4, 5), bounds)
    with pytest.raises(SzilardError, match="a map of bounds is absolute"):
        FieldCodec(Bound(0.05, relative=True)).encode(smooth(4, 5), np.ones((4, 5)))


@pytest.mark.slow
def test_noise_takes_its_entropy():
    """A rounded Gaussian of standard deviation 16 bounds, weights included: within 1 % of its entropy."""
    array = np.random.default_rng(3).normal(size=(3, 512, 512)).astype(np.float32)
    n = np.arange(-100, 101)
    mass = norm.cdf((n + 0.5) / 8) - norm.cdf((n - 0.5) / 8)
    entropy = -(mass * np.log2(np.maximum(mass, 1e-300))).sum() * array.size / 8
    data = FieldCodec.fit(array, Bound(1 / 16), within=True, effort=1.0).encode(array)
    assert entropy <= len(data) * 1.0001
    assert len(data) <= 1.01 * entropy
