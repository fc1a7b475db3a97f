"""Fields as they come: short axes, offsets, outliers, unmarked fill values, rain, bounds near the type's digits."""

from __future__ import annotations

import numpy as np
import pytest
from field_inputs import coded_network

from szilard.codec import Bound, FieldCodec, opening, stream, weights
from szilard.codec.layout import turned


def coded(array, bound, bounds=None, ratio=2.0):
    """What the default weights give: within the bound, and smaller by at least this ratio."""
    codec = FieldCodec(bound, weights=weights.unchanged())
    data = codec.encode(array, bounds)
    found = codec.decode(data)
    assert found.shape == array.shape
    assert found.flags.c_contiguous
    finite = np.isfinite(array)
    error = np.abs(found.astype(np.longdouble) - array.astype(np.longdouble))[finite]
    assert (error <= (bound.size if bounds is None else bounds[finite])).all()
    assert array.nbytes > ratio * len(data)
    return found


def walk(*shape, axis=-1, seed=0):
    return np.random.default_rng(seed).normal(size=shape).cumsum(axis).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((300,), (0,)),
        ((300, 4), (0, 1)),
        ((4, 20, 3), (0, 1, 2)),
        ((300, 8, 8), (1, 0, 2)),
        ((4, 5, 6), (0, 1, 2)),
        ((61, 120, 2, 4, 10), (2, 3, 4, 0, 1)),
        ((1, 1, 24, 1, 1), (0, 1, 3, 2, 4)),
    ],
)
def test_slices_have_the_longest_axes_where_the_last_are_short(shape, axes):
    found = turned(shape)
    assert sorted(found) == list(range(len(shape)))
    assert {shape[axis] for axis in found[-2:]} == {shape[axis] for axis in axes[-2:]}
    assert list(found[:-2]) == sorted(found[:-2])


def test_long_series_at_few_points_are_coded():
    coded(walk(600, 8, 8, axis=0), Bound(0.05), ratio=3)
    coded(walk(1200, 2, 2, axis=0), Bound(0.05), ratio=2)
    coded(walk(1, 4, 5, 7, 11), Bound(0.05), ratio=4)
    array = walk(200, 6, 7, axis=0)
    coded(array, Bound(0.02), np.linspace(0.02, 0.5, 200)[:, None, None] * np.ones_like(array), ratio=4)
    data = stream.encode(array, Bound(0.05), coded_network(), periodic=True)
    assert np.abs(opening.decode(data).astype(float) - array).max() <= 0.05


@pytest.mark.parametrize("offset", [1e5, -3e7, 1e8])
def test_an_offset_does_not_matter(offset):
    array = walk(3, 40, 60).astype(np.float64)
    data = FieldCodec(Bound(0.01), weights=weights.unchanged()).encode(array)
    moved = FieldCodec(Bound(0.01), weights=weights.unchanged()).encode(array + offset)
    assert len(moved) < 1.05 * len(data)
    coded(array + offset, Bound(0.01), ratio=5)


def test_outliers_and_fill_values_without_a_mark_are_exact():
    array = walk(3, 40, 60)
    array[0, 2, 3] = 1e10
    array[1, 5:15, 5:15] = 1e20
    array[2, 0, 0] = -3e38
    found = coded(array, Bound(0.02), ratio=3)
    far = np.abs(array) > 1e9
    assert (found[far] == array[far]).all()


def test_a_wider_bound_is_never_a_larger_file():
    """Also where half of the last digit of a float32 is a share of the bound."""
    r = np.random.default_rng(0)
    array = (5e4 + 10 * r.normal(size=(2, 40, 60))).astype(np.float32)
    sizes = []
    for size in (0.06, 0.05, 0.04, 0.03, 0.02, 0.015, 0.008):
        coded(array, Bound(size))
        sizes.append(len(FieldCodec(Bound(size), weights=weights.unchanged()).encode(array)))
    assert sizes == sorted(sizes)
    coded(array, Bound(0.02), np.where(array > 5e4, 0.05, 0.02))


def test_no_rain_stays_none():
    r = np.random.default_rng(0)
    rain = np.where(r.random((3, 40, 60)) < 0.6, 0, r.gamma(0.5, 1e-7, (3, 40, 60))).astype(np.float32)
    found = coded(rain, Bound(1e-8), ratio=4)
    assert (found[rain == 0] == 0).all()
