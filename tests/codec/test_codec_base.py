"""The base of a field: its waves in integers, one fit for every bound, and bytes that are damaged."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.codec import base, cosines, slices
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.layout import Layout
from szilard.codec.network import STEP, Network
from szilard.coding import CodingError, Encoder, Model
from szilard.coding.leb128 import encoded as varint

SHAPES = [(40,), (1, 1), (7, 1), (24, 36), (3, 17, 24), (2, 3, 2, 9, 20)]


def smooth(layout, size=20_000, seed=0):
    """Points of a lattice, a few waves with noise."""
    r = np.random.default_rng(seed)
    shape = (*layout.shape[:-2], *layout.slice_shape)
    total = r.normal(size=shape) * size / 1000
    for axis, grid in enumerate(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")):
        total += size * np.cos(2 * np.pi * (grid + r.random())) / (1 + axis)
    return np.rint(total + 3 * size).astype(np.int64).reshape(layout.count, -1)


def written(layout, step, offset, counts, kept, levels):
    """Bytes of a base with these numbers."""
    coder = Encoder()
    coder.levels(levels, Model.HISTORY)
    return b"".join(map(varint, (step, 2 * offset, *counts, kept))) + coder.finish()


@pytest.mark.parametrize("length", [1, 2, 3, 7, 64, 241, 480, 99_991, cosines.MOST_LENGTH])
def test_cosine_is_right_to_0_51_units(length):
    m = np.unique(np.linspace(0, 4 * length - 1, min(4 * length, 50_000)).astype(np.int64))
    exact = 2.0**cosines.SHIFT * np.cos(np.pi / 2 * m / length)
    assert np.abs(cosines.cosine(m, length) - exact).max() < 0.51


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 61, 480])
def test_waves_are_orthogonal(length, around):
    waves = cosines.waves(length, min(length, cosines.MOST_WAVES), around)
    unit = waves.values * 2.0**-cosines.SHIFT * np.sqrt((1 + waves.doubled) / length)[:, None]
    np.testing.assert_allclose(unit @ unit.T, np.eye(len(unit)), atol=2e-4)
    assert (np.diff(waves.half_cycles) >= 0).all()


@pytest.mark.parametrize("shape", [(40,), (9, 20), (3, 4, 9, 20)])
@pytest.mark.parametrize("around", [False, True])
def test_sum_is_that_of_floating_point_within_a_bound(shape, around):
    layout = Layout(shape, 0, around)
    full = (*shape[:-2], *layout.slice_shape)
    amplitudes = np.random.default_rng(0).integers(-(1 << 22), 1 << 22, full).astype(np.float64)
    exact, limit = amplitudes, 0.0
    for axis, length in enumerate(full):
        # An entry is wrong by 0.51 units, which multiplies amplitudes; rounding adds a half; errors before add up.
        limit = limit * length + 0.51 * 2.0**-cosines.SHIFT * np.abs(exact).sum(axis).max() + 0.5
        place, wave = np.arange(length), np.arange(length)[:, None]
        if around and axis == len(full) - 1:
            turns = (wave + 1) // 2 * place / length - (wave % 2 == 0) * (wave > 0) / 4
        else:
            turns = wave * (2 * place + 1) / (4 * length)
        exact = np.moveaxis(np.tensordot(np.cos(2 * np.pi * turns).T, exact, (1, axis)), 0, axis)
    found = base._sum(amplitudes, layout)
    assert np.abs(found - exact).max() <= limit
    assert limit < 2e-3 * np.abs(exact).max()


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_fine_base_is_the_lattice(shape, around):
    layout = Layout(shape, 0, around)
    points = smooth(layout)
    data = base.fit(points, layout).encode(1.0)
    assert np.sqrt(((points - base.synthesise(data, layout)) ** 2).mean()) < 4


def test_one_fit_serves_five_bounds(monkeypatch):
    layout = Layout((3, 31, 48), 0, True)
    points = smooth(layout, 1 << 16)
    fitted = base.fit(points, layout)
    monkeypatch.setattr(base, "fit", None)
    monkeypatch.setattr(base.latents, "variances", None)
    sizes, errors = [], []
    for scale in (1, 0.5, 0.2, 0.05, 0.01):
        data = fitted.encode(100.0, scale)
        sizes.append(len(data))
        errors.append((points * scale - base.synthesise(data, layout)).std())
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5
    assert max(errors) < 110


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    around=st.booleans(), size=st.integers(0, 1 << 20), noise=st.floats(0.1, 1e5), seed=st.integers(0, 99),
)  # fmt: skip
def test_every_base_can_be_read(shape, around, size, noise, seed):
    layout = Layout(tuple(shape), 0, around)
    r = np.random.default_rng(seed)
    points = r.integers(-size, size + 1, (layout.count, math.prod(layout.slice_shape)))
    data = base.fit(points, layout).encode(noise)
    if data is None:
        assert size > 1 << 10
        return
    found = base.synthesise(data, layout)
    assert found.shape == points.shape
    assert found.dtype == np.int64


def test_points_without_values_do_not_count():
    layout = Layout((2, 20, 20), 0, False)
    points = smooth(layout)
    coded = np.random.default_rng(0).random(points.shape) < 0.7
    one, other = points.copy(), points.copy()
    other[~coded] = 1 << 40
    assert base.fit(one, layout, coded).encode(64.0) == base.fit(other, layout, coded).encode(64.0)
    assert base.fit(points, layout, np.zeros_like(coded)) is None


def test_points_that_are_too_large_have_no_base():
    layout = Layout((20, 20), 0, False)
    points = np.random.default_rng(0).integers(-(1 << 43), 1 << 43, (1, 400))
    assert base.fit(points, layout).encode(1.0) is None


def test_integers_are_those_that_were_recorded():
    layout = Layout((2, 3, 17, 24), 0, True)
    levels = np.arange(-300, 300).reshape(60, 10)[:, :4].astype(np.int32)
    data = written(layout, 1234, 99, (2, 2, 7, 9), 60, levels)
    code = (
        "import sys, hashlib; from szilard.codec import base; from szilard.codec.layout import Layout;"
        "f = base.synthesise(bytes.fromhex(sys.argv[1]), Layout((2, 3, 17, 24), 0, True));"
        "print(hashlib.sha256(f.astype('<i8').tobytes()).hexdigest())"
    )
    here = hashlib.sha256(base.synthesise(data, layout).astype("<i8").tobytes()).hexdigest()
    assert here == RECORDED
    for _ in range(2):
        ran = subprocess.run(
            [sys.executable, "-c", code, data.hex()], capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == here


RECORDED = "f6ac5066374e86bbe10fec25524166cdf1f30902b49c2eb173d8ed4c6ab8bdb0"


@pytest.mark.parametrize(
    ("step", "counts", "kept"),
    [(0, (1, 2, 3), 6), (5, (0, 2, 3), 6), (5, (3, 2, 3), 6), (5, (1, 2, 3), 7), (5, (1, 2, 3), 0),
     (1 << 31, (1, 2, 3), 6), (5, (1, 10, 3), 6), (5, (1, 2, 1 << 40), 6)],
)  # fmt: skip
def test_numbers_outside_their_limits_are_refused(step, counts, kept):
    layout = Layout((2, 9, 20), 0, True)
    with pytest.raises(CodingError):
        base.synthesise(written(layout, step, 0, counts, kept, np.ones((6, 1), np.int32)), layout)


def test_amplitudes_beyond_exact_sums_are_refused():
    layout = Layout((9, 20), 0, True)
    levels = np.full((180, 1), (1 << 23) - 1, np.int32)
    with pytest.raises(CodingError, match="beyond the lattice"):
        base.synthesise(written(layout, 1 << 30, 0, (9, 20), 180, levels), layout)


def test_many_levels_in_few_bytes_are_refused():
    layout = Layout((1000, 256, 256), 0, True)
    data = b"".join(map(varint, (5, 0, 256, 256, 256, 65536))) + b"\0" * 8
    with pytest.raises(CodingError):
        base.synthesise(data, layout)


def test_axis_that_is_too_long_has_no_base():
    layout = Layout((cosines.MOST_LENGTH + 1,), 0, False)
    assert base.fit(np.zeros((1, layout.shape[0]), np.int64), layout) is None
    with pytest.raises(CodingError, match="this long"):
        base.synthesise(b"\1\0\1\1\1", layout)


def test_damaged_bytes_are_refused_or_give_points():
    layout = Layout((2, 12, 16), 0, True)
    points = smooth(layout)
    data = base.fit(points, layout).encode(64.0)
    r = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for place in r.integers(0, len(data), r.integers(1, 4)):
            broken[place] = r.integers(256)
        try:
            found = base.synthesise(bytes(broken[: r.integers(1, len(data) + 1)]), layout)
        except CodingError:
            refused += 1
            continue
        assert found.shape == points.shape
        assert np.abs(found).max() < 1 << 46
    assert refused > 100


def test_base_and_coded_rest_are_the_lattice():
    layout = Layout((3, 31, 48), 2, True)
    points = smooth(layout, 1 << 16)
    low = base.synthesise(base.fit(points, layout).encode(100.0), layout)
    network = Network(
        np.zeros((MOST_LEVELS, 3, LINEAR), np.int64), np.zeros((1, INPUTS), np.int64), np.zeros((1, 1), np.int64),
        np.zeros((2, 1), np.int64), np.zeros(4, np.int64),
    )  # fmt: skip
    rest = points - low
    assert rest.std() < points.std() / 100
    first, found, scales = slices.encode(layout, network, rest)
    at = 0

    def bins(wanted):
        nonlocal at
        at += len(wanted)
        assert (scales[at - len(wanted) : at] == wanted).all()
        return found[at - len(wanted) : at]

    assert np.abs(slices.decode(layout, network, first, bins) + low - points).max() <= STEP // 2
