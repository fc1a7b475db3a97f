"""An array as bytes: header, weights, bins, and whatever the bins do not give within the bound."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np

from szilard.codec import slices, weights
from szilard.codec.grid import MOST_LEVELS, levels_for
from szilard.codec.lattice import LARGEST, Bound, exp2, from_integers, to_integers
from szilard.codec.network import Network
from szilard.codec.slices import Layout
from szilard.coding import CodingError, Decoder, Encoder, interleaved, shapes
from szilard.errors import SzilardError

MAGIC = b"SZF0"  # 0: the format may still change
RAW, CODED = 0, 1
PERIODIC, RELATIVE, MARKED, OUTSIDE = 1, 2, 4, 8  # flags; OUTSIDE: the weights are not in the stream
MOST_DIMENSIONS = 5
MOST_VALUES = 1 << 31
MOST_MARKS = 250  #: different values that are not finite
_DTYPES = (np.dtype("<f4"), np.dtype("<f8"))
_PATCHED = 0.02  # share of values from which on the array is stored as it is
_MOST_BIN = 1 << 45


@dataclass(frozen=True)
class Marks:
    """Values that bins cannot give: signs under a relative bound, zeros, and those that are not finite.

    Attributes:
        levels: int32 ``[slices, rows · columns]``: 0: a bin; 1: a bin of a negative value; 2 and more: a constant.
        constants: the bits of each constant, unsigned integers ``[n]``.
    """

    levels: np.ndarray
    constants: np.ndarray

    @property
    def coded(self) -> np.ndarray:
        """Which values have bins, bool."""
        return self.levels < 2


def encode(
    array: np.ndarray, bound: Bound, network: Network | None, steps: dict[str, int], *, periodic: bool = False,
    within: bool = True,
) -> bytes:  # fmt: skip
    """Code an array with a network.

    Args:
        array: float32 or float64 of one to five dimensions.
        bound: no value of the decoded array is farther from the original.
        network: of weights rounded to ``steps``; None: store the array as it is.
        steps: of the weights.
        periodic: whether the last axis goes around.
        within: whether the weights are in the stream.
    """
    array = checked(array)
    stored = _raw(array)
    if network is None or not array.size:
        return stored
    found = _coded(array, bound, network, steps, periodic, within)
    return stored if found is None or len(found) >= len(stored) else found


def layout_of(array: np.ndarray, periodic: bool) -> Layout:
    """How an array is coded by default."""
    layout = Layout(array.shape, 0, periodic)
    return replace(layout, levels=levels_for(*layout.slice_shape))


def checked(array: np.ndarray) -> np.ndarray:
    """The array in little-endian order; raises unless it can be coded."""
    array = np.asarray(array)
    little = array.dtype.newbyteorder("<")
    if little not in _DTYPES:
        raise SzilardError(f"a field must be float32 or float64, not {array.dtype}; convert it first")
    if not 1 <= array.ndim <= MOST_DIMENSIONS:
        raise SzilardError(f"a field must have 1 to {MOST_DIMENSIONS} dimensions, not {array.ndim}")
    if array.size > MOST_VALUES:
        raise SzilardError(f"a field of {array.size:,} values is too large for one stream; code it in chunks")
    return np.ascontiguousarray(array, dtype=little)


def marks_of(array: np.ndarray, bound: Bound) -> Marks | None:
    """Marks of an array; None if there are more different constants than a stream can hold."""
    flat = array.reshape(-1)
    levels = np.zeros(flat.size, np.int32)
    constant = ~np.isfinite(flat)
    if bound.relative:
        constant |= flat == 0
        levels[flat < 0] = 1
    bits = flat[constant].view(np.uint32 if flat.dtype.itemsize == 4 else np.uint64)
    constants, place = np.unique(bits, return_inverse=True)
    if len(constants) > MOST_MARKS:
        return None
    levels[constant] = place + 2
    return Marks(levels, constants)


def points_of(array: np.ndarray, bound: Bound, marks: Marks, layout: Layout) -> np.ndarray | None:
    """Points of the lattice ``[slices, rows · columns]``, 0 at constants; None if one is too far from zero."""
    values = np.where(marks.coded, array.reshape(-1), 1).astype(np.float64)
    if bound.relative:
        values = np.log2(np.abs(values))
    points = to_integers(values, bound.unit)
    if points is None:
        return None
    points[~marks.coded] = 0
    return points.reshape(layout.count, -1)


def _coded(
    array: np.ndarray, bound: Bound, network: Network, steps: dict[str, int], periodic: bool, within: bool
) -> bytes | None:
    layout = layout_of(array, periodic)
    marks = marks_of(array, bound)
    points = None if marks is None else points_of(array, bound, marks, layout)
    if marks is None or points is None:
        return None
    layout = layout.along(points)
    coded = marks.coded.reshape(points.shape)
    first, bins, scales = slices.encode(layout, network, points, coded)
    side = Encoder()
    marked = bool(marks.levels.any())
    if marked:
        side.levels(marks.levels.reshape(-1, layout.slice_shape[1]))
    rises = np.diff(first.reshape(layout.count, -1), axis=1, prepend=0)
    if np.abs(rises).max(initial=0) >= 1 << 23:
        return None
    side.levels(rises.astype(np.int32))
    sections = [
        weights.encode(network, steps, layout.levels) if within else weights.digest(network),
        marks.constants.astype(f"<u{array.dtype.itemsize}").tobytes(),
        side.finish(),
        *_symbols(bins, scales, network.shape),
    ]
    decoded = _values(points, bound, marks, array.dtype).reshape(-1)
    patches = _patches(array.reshape(-1), decoded, bound, marks)
    if patches is None:
        return None
    flags = PERIODIC * periodic | RELATIVE * bound.relative | MARKED * marked | OUTSIDE * (not within)
    sections.append(patches)
    body = b"".join(_varint(len(section)) + section for section in sections)
    check = zlib.crc32(points.astype("<i8").tobytes())
    head = (
        _head(array, CODED)
        + bytes([flags, layout.levels, _axes_byte(layout.axes)])
        + np.array([bound.size], "<f8").tobytes()
    )
    whole = head + check.to_bytes(4, "little") + body
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def _symbols(bins: np.ndarray, scales: np.ndarray, shape: int) -> list[bytes]:
    """Symbols, plain bits and escapes."""
    table, symbol, upper = shapes.symbols(bins, scales, shape)
    bits = float(shapes.lengths()[table, symbol].sum())
    lanes = interleaved.lanes_for(bits)
    plain = shapes.split(scales, shape)[1]
    lower = bins + ((1 << plain) >> 1) - (upper << plain)
    escaped = upper[symbol == shapes.ESCAPE]
    return [
        bytes([lanes.bit_length() - 1]) + interleaved.encode(table, symbol, lanes),
        _pack(lower, plain),
        b"".join(_varint(2 * value if value >= 0 else -2 * value - 1) for value in escaped.tolist()),
    ]


def _pack(values: np.ndarray, widths: np.ndarray) -> bytes:
    """Integers of these numbers of bits, low bits first."""
    values, widths = values[widths > 0], widths[widths > 0]
    ends = np.cumsum(widths)
    total = int(ends[-1]) if len(ends) else 0
    place = np.arange(total)
    owner = np.repeat(np.arange(len(values)), widths)
    shift = place - np.repeat(ends - widths, widths)
    return np.packbits((values[owner] >> shift & 1).astype(np.uint8), bitorder="little").tobytes()


class _Bins:
    """Gives the bins of a stream for the scales of one pass after the other."""

    def __init__(self, symbols: bytes, plain: bytes, escapes: bytes, shape: int) -> None:
        if not symbols or symbols[0] > 8:
            raise CodingError("the stream of symbols is damaged")
        self._symbols = interleaved.Decoder(symbols[1:], 1 << symbols[0])
        self._plain = np.unpackbits(np.frombuffer(plain, np.uint8), bitorder="little")
        self._escapes = _Reader(escapes)
        self._at, self._shape = 0, shape

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        table, plain = shapes.split(scales, self._shape)
        symbol = self._symbols.symbols(table)
        upper = symbol - shapes.RADIUS
        for place in np.flatnonzero(symbol == shapes.ESCAPE).tolist():
            value = self._escapes.varint(2 * _MOST_BIN)
            upper[place] = -(value + 1 >> 1) if value & 1 else value >> 1
        return (upper << plain) + self._lower(plain) - ((1 << plain) >> 1)

    def _lower(self, widths: np.ndarray) -> np.ndarray:
        total = int(widths.sum())
        if not total:
            return np.zeros(len(widths), np.int64)
        if self._at + total > len(self._plain):
            raise CodingError("the plain bits of a field end too early; the file is damaged")
        ends = np.cumsum(widths)
        shift = np.arange(total) - np.repeat(ends - widths, widths)
        bits = self._plain[self._at : self._at + total].astype(np.int64) << shift
        self._at += total
        sums = np.concatenate([[0], np.cumsum(bits)])
        return sums[ends] - sums[ends - widths]

    def finish(self) -> None:
        """Check that everything was read."""
        self._symbols.finish()
        if not 0 <= len(self._plain) - self._at < 8 or self._plain[self._at :].any() or self._escapes.left():
            raise CodingError("a part of the field has bytes left over; the file is damaged")


def decode(data: bytes, network: Network | None = None, *, most: int = MOST_VALUES) -> np.ndarray:
    """The array of a stream.

    Args:
        data: the stream.
        network: of a stream without weights.
        most: values that an array may have.

    Raises:
        SzilardError: the stream is damaged, of a newer version, or needs another network.
    """
    reader = _Reader(data)
    shape, dtype, mode = _read_head(reader, most)
    if len(data) < 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise CodingError("the checksum of the field does not fit its bytes; the file is damaged")
    reader.end = len(data) - 4
    count = int(np.prod(shape, dtype=np.int64))
    if mode == RAW:
        return _unraw(reader, count, dtype).reshape(shape)
    flags, levels, axes = reader.take(3)
    bound = Bound(float(np.frombuffer(reader.take(8), "<f8")[0]), bool(flags & RELATIVE))
    check = int.from_bytes(reader.take(4), "little")
    if flags > 15 or levels >= MOST_LEVELS:
        raise CodingError("the header of the field is damaged")
    layout = Layout(shape, levels, bool(flags & PERIODIC), _axes_of(axes, shape))
    parts = [reader.take(reader.varint(len(data))) for _ in range(7)]
    if reader.left():
        raise CodingError("the field has bytes left over; the file is damaged")
    used = _network_of(parts[0], flags, layout, network)
    side = Decoder(parts[2])
    marks = _read_marks(side, parts[1], flags, layout, dtype)
    coarse = layout.coarse()
    first = np.cumsum(side.levels(layout.count, coarse.size).astype(np.int64), axis=1)
    side.finish()
    bins = _Bins(parts[3], parts[4], parts[5], used.shape)
    coded = marks.coded.reshape(layout.count, -1)
    points = slices.decode(layout, used, first.reshape(layout.count, *coarse.shape), bins, coded)
    bins.finish()
    if zlib.crc32(points.astype("<i8").tobytes()) != check:
        raise CodingError("the decoded integers of the field do not have the checksum of the encoder's")
    values = _values(points, bound, marks, dtype).reshape(-1)
    _apply_patches(values, parts[6])
    return values.reshape(shape)


def _axes_byte(axes: tuple[int, ...]) -> int:
    """Two axes, or 7 for none, of three bits each."""
    first, second = (*axes, 7, 7)[:2]
    return first | second << 3


def _axes_of(byte: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    found = tuple(axis for axis in (byte & 7, byte >> 3) if axis != 7)
    if (
        len(set(found)) < len(found)
        or any(axis >= len(shape) - 2 for axis in found)
        or (byte & 7 == 7 and found)
    ):
        raise CodingError("the header of the field is damaged")
    return found


def _values(points: np.ndarray, bound: Bound, marks: Marks, dtype: np.dtype) -> np.ndarray:
    """Decoded values of points of the lattice."""
    values = from_integers(points.reshape(-1), bound.unit)
    if bound.relative:
        with np.errstate(over="ignore"):
            values = exp2(np.clip(values, -1100, 1100))
        values = np.where(marks.levels == 1, -values, values)
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    constant = ~marks.coded
    found[constant] = marks.constants[marks.levels[constant] - 2].view(dtype)
    return found


def _patches(original: np.ndarray, decoded: np.ndarray, bound: Bound, marks: Marks) -> bytes | None:
    """Values outside the bound, with their places; None if there are too many."""
    places = np.flatnonzero(marks.coded)
    places = places[bound.broken(original[places], decoded[places])]
    if len(places) > _PATCHED * len(original):
        return None
    gaps = np.diff(places, prepend=-1) - 1
    return _varint(len(places)) + b"".join(map(_varint, gaps.tolist())) + original[places].tobytes()


def _apply_patches(values: np.ndarray, data: bytes) -> None:
    reader = _Reader(data)
    count = reader.varint(len(values))
    place = -1
    places = []
    for _ in range(count):
        place += 1 + reader.varint(len(values))
        places.append(place)
    if place >= len(values):
        raise CodingError("a corrected value of the field is outside the array; the file is damaged")
    values[places] = np.frombuffer(reader.take(count * values.itemsize), values.dtype)
    if reader.left():
        raise CodingError("the corrected values of the field have bytes left over; the file is damaged")


def _network_of(data: bytes, flags: int, layout: Layout, network: Network | None) -> Network:
    if not flags & OUTSIDE:
        return weights.decode(data, layout.levels)
    if network is None or weights.digest(network) != data:
        raise SzilardError("the field was coded with weights that are not in its stream; open it with those")
    return network


def _read_marks(side: Decoder, data: bytes, flags: int, layout: Layout, dtype: np.dtype) -> Marks:
    height, width = layout.slice_shape
    if len(data) % dtype.itemsize or len(data) // dtype.itemsize > MOST_MARKS:
        raise CodingError("the constants of the field are damaged")
    constants = np.frombuffer(data, f"<u{dtype.itemsize}")
    if not flags & MARKED:
        return Marks(np.zeros(layout.count * height * width, np.int32), constants)
    levels = side.levels(layout.count * height, width).reshape(-1)
    if levels.size and not 0 <= levels.min() <= levels.max() < len(constants) + 2:
        raise CodingError("the marks of the field are damaged")
    return Marks(levels, constants)


def _head(array: np.ndarray, mode: int) -> bytes:
    dims = b"".join(map(_varint, array.shape))
    return MAGIC + bytes([mode, _DTYPES.index(array.dtype), array.ndim]) + dims


def _read_head(reader: _Reader, most: int) -> tuple[tuple[int, ...], np.dtype, int]:
    if reader.take(4) != MAGIC:
        raise SzilardError("these bytes are not a field of szilard, or of a newer version")
    mode, kind, ndim = reader.take(3)
    if mode > CODED or kind >= len(_DTYPES) or not 1 <= ndim <= MOST_DIMENSIONS:
        raise CodingError("the header of the field is damaged, or of a newer version")
    shape = tuple(reader.varint(most) for _ in range(ndim))
    count = 1
    for length in shape:
        count *= length
    if count > most:
        raise SzilardError(f"the field claims {count:,} values, more than the {most:,} that are allowed")
    return shape, _DTYPES[kind], mode


def _raw(array: np.ndarray) -> bytes:
    """The array as it is: bytes of equal significance together, deflated."""
    planes = array.reshape(-1).view(np.uint8).reshape(-1, array.itemsize).T
    whole = _head(array, RAW) + zlib.compress(planes.tobytes(), 6)
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def _unraw(reader: _Reader, count: int, dtype: np.dtype) -> np.ndarray:
    wanted = count * dtype.itemsize
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(reader.take(reader.end - reader.at), wanted + 1)
    except zlib.error:
        raise CodingError("the values of the field cannot be inflated; the file is damaged") from None
    if len(data) != wanted or not inflater.eof or inflater.unused_data:
        raise CodingError("the field does not have as many values as it claims; the file is damaged")
    return (
        np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1).T)
        .view(dtype)
        .reshape(-1)
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Reader:
    """Reads bytes from their start to ``end``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at, self.end = 0, len(data)

    def take(self, count: int) -> bytes:
        if count > self.end - self.at:
            raise CodingError("the field is cut off")
        self.at += count
        return self._data[self.at - count : self.at]

    def varint(self, limit: int) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 56:
                raise CodingError("a number in the field is too large; the file is damaged")
        if value > limit:
            raise CodingError("a number in the field is too large; the file is damaged")
        return value

    def left(self) -> int:
        return self.end - self.at


assert LARGEST < _MOST_BIN
