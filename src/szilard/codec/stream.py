"""An array as bytes: header, weights, bins, and whatever the bins do not give within the bound."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from szilard.codec import bins, head, marks, patches, slices, weights
from szilard.codec.grid import MOST_LEVELS, levels_for
from szilard.codec.lattice import Bound
from szilard.codec.network import Network
from szilard.codec.reader import Reader
from szilard.codec.slices import Layout
from szilard.coding import CodingError, Decoder, Encoder
from szilard.coding.leb128 import encoded as varint
from szilard.errors import SzilardError

PERIODIC, RELATIVE, MARKED, OUTSIDE = 1, 2, 4, 8  # flags; OUTSIDE: the weights are not in the stream
MOST_VALUES = 1 << 31


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
    stored = head.raw(array)
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
    if little not in head.DTYPES:
        raise SzilardError(f"a field must be float32 or float64, not {array.dtype}; convert it first")
    if not 1 <= array.ndim <= head.MOST_DIMENSIONS:
        raise SzilardError(f"a field must have 1 to {head.MOST_DIMENSIONS} dimensions, not {array.ndim}")
    if array.size > MOST_VALUES:
        raise SzilardError(f"a field of {array.size:,} values is too large for one stream; code it in chunks")
    return np.ascontiguousarray(array, dtype=little)


def _coded(
    array: np.ndarray, bound: Bound, network: Network, steps: dict[str, int], periodic: bool, within: bool
) -> bytes | None:
    layout = layout_of(array, periodic)
    marked = marks.marks_of(array, bound)
    points = None if marked is None else marks.points_of(array, bound, marked, layout)
    if marked is None or points is None:
        return None
    layout = layout.along(points)
    first, found, scales = slices.encode(layout, network, points, marked.coded.reshape(points.shape))
    side = Encoder()
    any_marks = bool(marked.levels.any())
    if any_marks:
        side.levels(marked.levels.reshape(-1, layout.slice_shape[1]))
    rises = np.diff(first.reshape(layout.count, -1), axis=1, prepend=0)
    if np.abs(rises).max(initial=0) >= 1 << 23:
        return None
    side.levels(rises.astype(np.int32))
    sections = [
        weights.encode(network, steps, layout.levels) if within else weights.digest(network),
        marked.constants.astype(f"<u{array.dtype.itemsize}").tobytes(),
        side.finish(),
        *bins.encode(found, scales, network.shape),
    ]
    decoded = marks.values_of(points, bound, marked, array.dtype).reshape(-1)
    corrected = patches.find(array.reshape(-1), decoded, bound, marked)
    if corrected is None:
        return None
    flags = PERIODIC * periodic | RELATIVE * bound.relative | MARKED * any_marks | OUTSIDE * (not within)
    sections.append(corrected)
    body = b"".join(varint(len(section)) + section for section in sections)
    check = zlib.crc32(points.astype("<i8").tobytes())
    start = (
        head.write(array, head.CODED)
        + bytes([flags, layout.levels, _axes_byte(layout.axes)])
        + np.array([bound.size], "<f8").tobytes()
    )
    whole = start + check.to_bytes(4, "little") + body
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def decode(data: bytes, network: Network | None = None, *, most: int = MOST_VALUES) -> np.ndarray:
    """The array of a stream.

    Args:
        data: the stream.
        network: of a stream without weights.
        most: values that an array may have.

    Raises:
        SzilardError: the stream is damaged, of a newer version, or needs another network.
    """
    reader = Reader(data)
    shape, dtype, mode = head.read(reader, most)
    if len(data) < 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise CodingError("the checksum of the field does not fit its bytes; the file is damaged")
    reader.end = len(data) - 4
    count = int(np.prod(shape, dtype=np.int64))
    if mode == head.RAW:
        return head.unraw(reader, count, dtype).reshape(shape)
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
    marked = marks.read(side, parts[1], bool(flags & MARKED), layout, dtype)
    coarse = layout.coarse()
    first = np.cumsum(side.levels(layout.count, coarse.size).astype(np.int64), axis=1)
    side.finish()
    symbols = bins.Bins(parts[3], parts[4], parts[5], used.shape)
    coded = marked.coded.reshape(layout.count, -1)
    points = slices.decode(layout, used, first.reshape(layout.count, *coarse.shape), symbols, coded)
    symbols.finish()
    if zlib.crc32(points.astype("<i8").tobytes()) != check:
        raise CodingError("the decoded integers of the field do not have the checksum of the encoder's")
    values = marks.values_of(points, bound, marked, dtype).reshape(-1)
    patches.apply(values, parts[6])
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


def _network_of(data: bytes, flags: int, layout: Layout, network: Network | None) -> Network:
    if not flags & OUTSIDE:
        return weights.decode(data, layout.levels)
    if network is None or weights.digest(network) != data:
        raise SzilardError("the field was coded with weights that are not in its stream; open it with those")
    return network
