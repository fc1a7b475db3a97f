"""Fields: bounds that hold, the same integers everywhere, and streams that are damaged."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from field_inputs import coded_network, network, smooth
from hypothesis import given
from hypothesis import strategies as st

from szilard.codec import Bound, FieldCodec, bins, head, marks, opening, slices, stream, weights
from szilard.codec.features import bit_length, log2
from szilard.codec.grid import levels_for, passes
from szilard.codec.lattice import exp2
from szilard.codec.layout import Layout
from szilard.coding.leb128 import encoded as varint
from szilard.errors import SzilardError
from szilard.kernels import native


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 7), (64, 64), (33, 96), (241, 480)])
def test_passes_visit_every_value_once_and_use_known_ones(shape, periodic):
    levels = levels_for(*shape)
    known = np.zeros(shape[0] * shape[1], dtype=bool)
    stride = 1 << levels
    rows, columns = np.arange(0, shape[0], stride), np.arange(0, shape[1], stride)
    known[(rows[:, None] * shape[1] + columns).ravel()] = True
    for step in passes(*shape, levels, periodic):
        assert known[step.neighbours].all()
        assert not known[step.targets].any()
        known[step.targets] = True
    assert known.all()


def test_integers_have_the_right_logarithm():
    values = np.array([1, 2, 3, 255, 256, 257, (1 << 40) - 1, 1 << 40])
    np.testing.assert_array_equal(bit_length(values), [int(v).bit_length() for v in values])
    np.testing.assert_allclose(log2(values) / 256, np.log2(values), atol=0.09)


def test_exp2_is_exact_to_two_units():
    x = np.random.default_rng(0).uniform(-1000, 1000, 10_000)
    np.testing.assert_allclose(exp2(x), np.exp2(x), rtol=5e-16)


@pytest.mark.skipif(not native.available(), reason="there are no C++ kernels")
@pytest.mark.parametrize("hidden", [1, 7, 32])
@pytest.mark.parametrize("size", [10**3, 10**7, 1 << 43])
@pytest.mark.parametrize("shape", [(2, 3, 33, 17), (40, 64), (19,)])
def test_compiled_predictions_are_those_of_numpy(hidden, size, shape):
    layout = Layout(shape, levels_for(*Layout(shape, 0, True).slice_shape), True)
    r = np.random.default_rng(hidden)
    points = r.integers(-size, size, (layout.count, int(np.prod(layout.slice_shape))))
    found = []
    for compiled in (True, False):
        copy = points.copy()
        found.append((copy, *slices.encode(layout, network(hidden, hidden), copy, compiled=compiled)))
        assert np.abs(copy - points).max() <= 511
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@st.composite
def arrays(draw):
    ndim = draw(st.integers(1, 5))
    most = (200, 40, 14, 7, 5)[ndim - 1]
    shape = tuple(draw(st.lists(st.integers(1, most), min_size=ndim, max_size=ndim)))
    r = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    kind = draw(st.sampled_from(["noise", "walk", "wide", "constant", "scaled"]))
    values = r.normal(size=shape)
    if kind == "walk":
        values = values.cumsum(-1)
    elif kind == "wide":
        values = np.exp(20 * values)
    elif kind == "constant":
        values[:] = values.flat[0]
    elif kind == "scaled":
        values = values * 10.0 ** draw(st.integers(-44, 37))
    holes = draw(st.sampled_from([0, 0, 0.01, 0.5, 1]))
    values[r.random(shape) < holes] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0]))
    return values.astype(dtype)


@given(arrays(), st.integers(-9, 2), st.booleans(), st.booleans())
def test_no_value_is_beyond_its_bound(array, size, relative, periodic):
    bound = Bound(10.0 ** min(size, -1) if relative else 10.0**size, relative)
    with np.errstate(over="ignore"):
        data = stream.encode(array, bound, coded_network(), periodic=periodic)
    found = opening.decode(data)
    finite = np.isfinite(array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found[~finite].tobytes() == array[~finite].tobytes()
    assert not bound.broken(array[finite], found[finite]).any()
    if relative:
        np.testing.assert_array_equal(found[finite] == 0, array[finite] == 0)
        np.testing.assert_array_equal(np.signbit(found[finite]), np.signbit(array[finite]))


def test_streams_are_the_same_with_and_without_kernels(monkeypatch):
    array, bound = smooth(3, 40, 70), Bound(0.05)
    data = stream.encode(array, bound, coded_network())
    decoded = opening.decode(data)
    monkeypatch.setattr(native, "available", lambda: False)
    assert stream.encode(array, bound, coded_network()) == data
    assert same(opening.decode(data), decoded)


def test_an_untrained_network_and_a_fitted_one_keep_the_bound(monkeypatch):
    monkeypatch.setattr("szilard.codec.candidates._FEWEST", 5)
    array, bound = smooth(2, 64, 96), Bound(0.05)
    codec = FieldCodec.fit(array, bound, within=True, effort=0.02)
    data = codec.encode(array)
    assert np.abs(codec.decode(data).astype(float) - array).max() <= 0.05
    assert same(opening.decode(data), codec.decode(data))
    assert len(data) < array.nbytes / 8
    again = FieldCodec.fit(array, bound, within=True, effort=0.02)
    assert again.encode(array) == data


def test_weights_outside_a_stream_are_needed_to_open_it():
    array, bound = smooth(2, 64, 96), Bound(0.05)
    within, outside = (
        FieldCodec(bound, weights=coded_network(1, size=0.05), within=one) for one in (True, False)
    )
    data = outside.encode(array)
    assert len(data) < len(within.encode(array)) - 100
    assert np.abs(outside.decode(data).astype(float) - array).max() <= 0.05
    with pytest.raises(SzilardError, match="weights that are not in its stream"):
        opening.decode(data)
    default = FieldCodec(bound, weights=weights.unchanged(), within=False).encode(array)
    assert np.abs(opening.decode(default).astype(float) - array).max() <= 0.05
    assert opening.sizes(default)["weights"] < 8


def test_slices_are_predicted_along_the_axes_that_change_least():
    r = np.random.default_rng(0)
    member = r.normal(size=(1, 4, 2, 12, 12)).cumsum(-1)
    array = (member + 0.01 * r.normal(size=(5, 4, 2, 12, 12))).reshape(5 * 4 * 2, -1)
    layout = Layout((5, 4, 2, 12, 12), 1, False).along((1000 * array).astype(np.int64))
    assert layout.axes[0] == 0
    assert layout.earlier(0) == ()
    assert layout.earlier(8 + 3) == (3, {1: 9, 2: 10}[layout.axes[1]])


def test_actual_bytes_are_the_code_length():
    array, bound = smooth(4, 80, 90), Bound(0.004)
    layout = stream.layout_of(array, False)
    points = marks.points_of(array, bound, marks.marks_of(array, bound), layout)
    first, found, scales = slices.encode(layout, network(), points)
    from szilard.coding import shapes

    ideal = shapes.bits(found, scales, network().shape).sum() / 8
    sections = bins.encode(found, scales, network().shape)
    assert abs(sum(map(len, sections)) - ideal) <= 0.005 * ideal + 64
    assert first.size + found.size == array.size


def test_damage_is_an_error_of_ours():
    array = smooth(24, 33)
    array[3, 4] = np.nan
    good = stream.encode(array, Bound(0.05), coded_network(4))
    r = np.random.default_rng(0)
    for _ in range(400):
        bad = bytearray(good)
        for _ in range(r.integers(1, 4)):
            bad[r.integers(0, len(bad))] = r.integers(0, 256)
        if r.random() < 0.3:
            bad = bad[: r.integers(0, len(bad))]
        body = bytes(bad[:-4])
        signed = body + zlib.crc32(body).to_bytes(4, "little")  # a checksum that fits
        try:
            found = opening.decode(signed, most=10_000)
        except SzilardError:
            continue
        assert found.size <= 10_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bound(0.0), "bound of an error must be positive and finite, not 0"),
        (lambda: Bound(float("nan")), "must be positive and finite, not nan"),
        (lambda: Bound(1.5, relative=True), "a relative bound must be below 1"),
        (lambda: FieldCodec(Bound(1.0)).encode(np.zeros(3, int)), "must be float32 or float64, not int64"),
        (lambda: FieldCodec(Bound(1.0)).encode(np.zeros(3, complex)), "float32 or float64, not complex128"),
        (lambda: FieldCodec(Bound(1.0)).encode(np.zeros((1,) * 6)), "1 to 5 dimensions, not 6"),
        (lambda: opening.decode(b"SZF9aaaaaaa"), "not a field of szilard, or of a newer version"),
        (lambda: opening.decode(b""), "ends too early"),
    ],
)
def test_what_cannot_be_coded(make, message):
    with pytest.raises(SzilardError, match=message):
        make()


def test_a_huge_claim_is_refused_before_memory_is_taken():
    claim = head.MAGIC + bytes([1, 0, 1]) + varint(1 << 40)
    with pytest.raises(SzilardError, match="too large"):
        opening.decode(claim + bytes(40))
