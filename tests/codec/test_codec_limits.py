"""Fields at the limits of the format: no integer wraps, no warning, and memory and time that the output bounds."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
from field_inputs import STEPS, network, smooth
from hypothesis import given
from hypothesis import strategies as st

from szilard.codec import Bound, FieldCodec, bins, head, opening
from szilard.coding import CodingError, shapes
from szilard.coding.leb128 import encoded as varint
from szilard.coding.leb128 import zigzag
from szilard.errors import SzilardError

pytestmark = pytest.mark.filterwarnings("error")


def sealed(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


def claim(shape, mode=head.CODED, rest=b""):
    return sealed(head.MAGIC + bytes([mode, 0, len(shape)]) + b"".join(map(varint, shape)) + rest)


@pytest.mark.parametrize("mode", [head.RAW, head.CODED])
@pytest.mark.parametrize("shape", [(1 << 28, 1 << 28, 1 << 28, 0, 5), (1 << 28, 0, 2), (1 << 20, 1 << 20)])
def test_axes_that_are_too_long_are_refused_also_without_values(shape, mode):
    with pytest.raises(SzilardError, match="claims the shape .*too large"):
        opening.decode(claim(shape, mode, zlib.compress(b"")))


def test_an_array_without_values_goes_round_whatever_the_limit():
    for shape in ((0,), (5, 0), (0, 3, 0)):
        data = FieldCodec(Bound(1.0), network=network(), steps=STEPS).encode(np.zeros(shape))
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
    tracemalloc.start()
    sections = bins.encode(values, scales, 0)
    encoded = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    found = bins.Bins(*sections, 0)(scales)
    decoded = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    np.testing.assert_array_equal(found, values)
    assert encoded < 24 * values.nbytes
    assert decoded < 12 * values.nbytes
