"""Fields at the limits of the format: no integer wraps, no warning, and memory and time that the output bounds."""

from __future__ import annotations

import math
import tracemalloc
import zlib

import numpy as np
import pytest
from field_inputs import coded_network, network, smooth
from hypothesis import given
from hypothesis import strategies as st

from szilard.codec import (
    Bound,
    FieldCodec,
    base,
    bins,
    bound_map,
    cosines,
    head,
    lattice,
    opening,
    slices,
    stream,
)
from szilard.codec.features import INPUTS, LINEAR
from szilard.codec.fineness import Fineness
from szilard.codec.grid import MOST_LEVELS, levels_for
from szilard.codec.layout import Layout
from szilard.codec.network import MOST_BIAS, STEP, Network
from szilard.coding import CodingError, shapes
from szilard.coding.leb128 import encoded as varint
from szilard.coding.leb128 import zigzag
from szilard.errors import SzilardError
from szilard.kernels import native

BUILT = [False, True] if native.available() else [False]

pytestmark = pytest.mark.filterwarnings("error")


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def claim(shape, mode=head.CODED, rest=b""):
    return sealed(head.MAGIC + bytes([mode, 0, len(shape)]) + b"".join(map(varint, shape)) + rest)


@pytest.mark.parametrize("mode", [head.RAW, head.CODED])
@pytest.mark.parametrize("shape", [(1 << 28, 1 << 28, 1 << 28, 0, 5), (1 << 28, 0, 2), (1 << 20, 1 << 20)])
def test_axes_that_are_too_long_are_refused_also_without_values(shape, mode):
    with pytest.raises(SzilardError, match=r"claims the shape .* too large"):
        opening.decode(claim(shape, mode, zlib.compress(b"")))


def test_an_array_without_values_goes_round_whatever_the_limit():
    for shape in ((0,), (5, 0), (0, 3, 0)):
        data = FieldCodec(Bound(1.0), weights=coded_network()).encode(np.zeros(shape))
        assert opening.decode(data, most=0).shape == shape
    with pytest.raises(SzilardError, match="bins and no values"):
        opening.decode(claim((5, 0), head.CODED, bytes(40)))
    with pytest.raises(SzilardError, match="too large"):
        FieldCodec(Bound(1.0)).encode(np.zeros((1 << 20, 1 << 20, 0)))


def parts_of(values, widths):
    """Symbols, plain bits and escapes of integers that each take this number of plain bits."""
    scales = np.where(widths > 0, shapes.TABLES - 4 + 4 * widths, 36)
    return scales, bins.encode(values, scales, 0)


@given(st.integers(0, 300), st.integers(0, 1 << 30))
def test_plain_bits_go_round(count, seed):
    r = np.random.default_rng(seed)
    widths = r.integers(0, shapes.MOST_PLAIN, count)
    values = np.rint(r.laplace(size=count) * 2.0 ** (widths + 2)).astype(np.int64)
    scales, sections = parts_of(values, widths)
    reader = bins.Bins(*sections, 0)
    cut = count // 3
    np.testing.assert_array_equal(np.concatenate([reader(scales[:cut]), reader(scales[cut:])]), values)
    reader.finish()
    longer = bins.Bins(sections[0], sections[1] + bytes(1), sections[2], 0)
    longer(scales)
    with pytest.raises(CodingError, match="bytes left over"):
        longer.finish()


@pytest.mark.parametrize("plain", [0, 5, 28])
def test_escapes_beyond_the_lattice_are_refused(plain):
    scales, sections = parts_of(np.array([bins.MOST_BIN]), np.array([plain]))
    assert bins.Bins(*sections, 0)(scales) == bins.MOST_BIN
    upper = (bins.MOST_BIN >> plain) + 2
    with pytest.raises(CodingError, match="too large"):
        bins.Bins(sections[0], sections[1], zigzag(upper), 0)(scales)


def test_plain_bits_take_memory_for_their_integers_only():
    """Half a million integers of 28 bits: one 64-bit integer for each bit would take 112 MB."""
    r = np.random.default_rng(0)
    widths = np.full(1 << 19, 28)
    values = r.integers(-(1 << 30), 1 << 30, len(widths))
    scales = shapes.TABLES - 4 + 4 * widths
    bins.encode(values[:9], scales[:9], 0)  # loads tables
    tracemalloc.start()
    sections = bins.encode(values, scales, 0)
    encoded = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    found = bins.Bins(*sections, 0)(scales)
    decoded = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    np.testing.assert_array_equal(found, values)
    assert encoded < 30 * values.nbytes
    assert decoded < 12 * values.nbytes


def test_every_usual_layout_has_few_passes():
    for height in (1, 2, 3, 9, 17, 33, 65):
        for width in (1, 2, 7, 16, 32, 70):
            layout = Layout((height, width), levels_for(height, width), False)
            assert layout.has_few_passes(), (height, width)
            for levels in range(6):
                layout = Layout((height, width), levels, False)
                assert layout.has_few_passes() == (height * width >= 8 * len(layout.steps()))


def test_slices_of_few_values_take_no_time_each(monkeypatch):
    array = smooth(15, 15, 14, 2, 2)
    data = bytearray(stream.encode(array, Bound(0.05), coded_network()))
    assert opening.order(data) == "coarse to fine"
    monkeypatch.setattr(Layout, "earlier", lambda *_: pytest.fail("a step for each slice"))
    assert np.abs(opening.decode(bytes(data)) - array).max() <= 0.05
    at = len(head.write(array.shape, array.dtype, head.CODED)) + 1
    data[at] = 1
    with pytest.raises(CodingError, match="header of the field is damaged"):
        opening.decode(sealed(bytes(data[:-4])))


def hostile(value=8191, linear=32767):
    """A network whose predictions run away: every weight is the largest."""
    return Network(
        np.full((MOST_LEVELS, 3, LINEAR), linear), np.full((2, INPUTS), value), np.full((2, 2), value),
        np.full((2, 2), value), np.full(6, MOST_BIAS),
    )  # fmt: skip


@pytest.mark.parametrize("compiled", BUILT)
@pytest.mark.parametrize("sign", [-1, 1])
def test_predictions_that_run_away_stay_on_the_lattice(sign, compiled, monkeypatch):
    """Without a coded value for hundreds of diagonals; the encoder has what the decoder will have."""
    layout = Layout((1, 700, 40), 0, False, raster=True)
    points = np.zeros((1, 28_000), np.int64)
    points[0, :500] = sign * (1 << 43)
    coded = np.zeros(points.shape, bool)
    coded[0, :500] = coded[0, -500:] = True
    net = hostile(linear=sign * 32767)
    for module in (slices, lattice):
        monkeypatch.setattr(module, "FARTHEST", 1 << 44)  # which they reach sooner
    first, found, _ = slices.encode(layout, net, points, coded, compiled=compiled)
    assert np.abs(points).max() == 1 << 44
    given = iter(np.split(found, np.flatnonzero(np.ones(len(found)))[1:]))
    read = lambda scale: np.array([next(given)[0] for _ in scale], np.int64)  # noqa: E731
    again = slices.decode(layout, net, first, read, coded, compiled=compiled)
    np.testing.assert_array_equal(again, points)


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("value", [bins.MOST_BIN, -bins.MOST_BIN])
def test_bins_beyond_the_lattice_are_refused(value, fine):
    layout = Layout((32,), 2, False)
    wide = Fineness(np.full((1, 32), bound_map.MOST), bound_map.steps()) if fine else None
    with pytest.raises(CodingError, match="beyond the lattice"):
        slices.decode(
            layout, network(), np.zeros((1, 1, 8), int), lambda s: np.full(len(s), value), fine=wide
        )
    far = np.full((1, 1, 8), lattice.FARTHEST // STEP + 1)
    for first in (far, -far):
        with pytest.raises(CodingError, match="beyond the lattice"):
            slices.decode(layout, network(), first, lambda s: np.zeros(len(s), int))


def test_the_mean_of_many_large_points_does_not_wrap():
    for value in (lattice.FARTHEST, -lattice.FARTHEST, -3):
        assert lattice.mean(np.full(1 << 18, value)) == value
    assert lattice.mean(np.array([-1, -2])) == -2


def test_a_map_takes_no_more_memory_than_its_values():
    """Blocks of 16 by 16 of slices of one value: whole blocks would take 256 times as much."""
    layout = Layout((4096, 1, 1), 0, False)
    fine = np.full((4096, 1), 3)
    data, _ = bound_map.encode(fine, fine > 0, layout)
    tracemalloc.start()
    bound_map.encode(fine, fine > 0, layout)
    found = bound_map.decode(bytes([4, data[1]]) + data[2:], layout)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, fine)
    assert peak < 32 * fine.nbytes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-300, 1e-17, 0.5, 1e300, 1.7e308])
def test_no_bound_makes_a_number_overflow(size, relative, dtype):
    if relative and size >= 1:
        return
    array = (smooth(20, 30, dtype=np.float64) / 40 * np.finfo(dtype).max).astype(dtype)
    array[0] /= np.finfo(dtype).max
    array[1] = array[0] * dtype(1e-30)
    bound = Bound(size, relative)
    found = opening.decode(stream.encode(array, bound, coded_network()))
    assert not bound.broken(array, found).any()
    if not relative:
        bounds = np.full(array.shape, max(size, 1e308))
        array[3, 4], bounds[3, 4] = np.nan, np.nan
        found = opening.decode(stream.encode(array, bound, coded_network(), bounds=bounds))
        finite = np.isfinite(array)
        assert not bound.broken(array[finite], found[finite], bounds[finite]).any()


def test_a_stream_with_a_unit_that_has_lost_digits_is_refused():
    array = smooth(20, 30)
    data = bytearray(stream.encode(array, Bound(0.05), coded_network()))
    at = len(head.write(array.shape, array.dtype, head.CODED)) + 3
    data[at : at + 8] = np.array([1e-310]).tobytes()
    with pytest.raises(CodingError, match="header of the field is damaged"):
        opening.decode(sealed(bytes(data[:-4])))


@pytest.mark.parametrize("raster", [False, True])
def test_passes_of_a_single_large_slice_are_not_held_at_once(raster):
    layout = Layout((1040, 1024), 0 if raster else 5, False, raster=raster)
    tracemalloc.start()
    seen = sum(len(step.targets) for step in layout.steps())
    left, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen + layout.coarse().size == 1040 * 1024
    assert peak < 60 * 1040 * 1024
    assert left < 1 << 20


def test_the_waves_of_a_long_axis_take_a_limited_memory():
    for length in (1, 100, 8192, 1 << 16, cosines.MOST_LENGTH):
        assert length * cosines.most_waves(length) <= max(1 << 21, length)
    layout = Layout((cosines.MOST_LENGTH,), 5, False)
    data = varint(1) + zigzag(0) + varint(1) + varint(256) + varint(1) + bytes(8)
    with pytest.raises(CodingError, match="too large"):
        base.synthesise(data, layout)


def test_the_unit_of_a_relative_bound_is_rounded_correctly():
    for size in np.random.default_rng(0).uniform(1e-6, 1, 200).tolist():
        exact = math.log1p(size) / math.log(2)
        assert lattice._log2_above_one(size) == pytest.approx(exact, rel=4e-16)
    assert lattice._log2_above_one(1e-3).hex() == "0x1.7a013faca6c6bp-10"
    assert lattice._log2_above_one(0.25) == 0.32192809488736235
    assert lattice._log2_above_one(1e-30) == pytest.approx(1e-30 / math.log(2), rel=1e-9)
    assert lattice._log2_above_one(1e-300) == 0


def test_waves_are_computed_a_few_at_a_time():
    tracemalloc.start()
    found = cosines.waves(1 << 19, 2, False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * found.values.nbytes
