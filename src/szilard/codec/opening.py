"""Streams back to arrays, and what their parts take."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from szilard.codec import base, bins, bound_map, head, marks, patches, slices, weights
from szilard.codec.fineness import Fineness
from szilard.codec.grid import MOST_LEVELS
from szilard.codec.head import ALL_FLAGS, BASE, MAPPED, MARKED, OUTSIDE, PERIODIC, RASTER, RELATIVE
from szilard.codec.lattice import LEAST_UNIT, Bound
from szilard.codec.layout import Layout, turned
from szilard.codec.network import Network
from szilard.coding import CodingError, Decoder
from szilard.coding.cursor import Cursor
from szilard.errors import SzilardError

PARTS = ("weights", "constants", "marks", "symbols", "plain bits", "escapes", "patches", "map", "base")


@dataclass(frozen=True)
class _Stream:
    """The parts of a stream: mode, type and layout; of a coded array also bound, checksum and sections."""

    mode: int
    shape: tuple[int, ...]
    dtype: np.dtype
    layout: Layout
    flags: int
    bound: Bound | None
    check: int
    parts: dict[str, bytes]


def decode(data: bytes, network: Network | None = None, *, most: int = head.MOST_VALUES) -> np.ndarray:
    """The array of a stream.

    Args:
        data: the stream.
        network: of a stream without weights.
        most: values that an array may have.

    Raises:
        SzilardError: the stream is damaged, of a newer version, or needs another network.
    """
    found = _parts(data, most)
    layout, parts, shape = found.layout, found.parts, found.shape
    if found.bound is None:
        count = int(np.prod(shape, dtype=np.int64))
        return head.unraw(parts["values"], count, found.dtype).reshape(shape)
    used = _network_of(parts["weights"], found.flags, layout, network)
    side = Decoder(parts["marks"])
    marked = marks.read(side, parts["constants"], bool(found.flags & MARKED), layout, found.dtype)
    coarse = layout.coarse()
    first = np.cumsum(side.levels(layout.count, coarse.size).astype(np.int64), axis=1)
    side.finish()
    fine = None
    if found.flags & MAPPED:
        fine = Fineness(bound_map.decode(parts["map"], layout), bound_map.steps())
    symbols = bins.Bins(parts["symbols"], parts["plain bits"], parts["escapes"], used.shape)
    coded = marked.coded.reshape(layout.count, -1)
    points = slices.decode(layout, used, first.reshape(layout.count, *coarse.shape), symbols, coded, fine)
    symbols.finish()
    if found.flags & BASE:
        points += base.synthesise(parts["base"], layout)
    if zlib.crc32(np.ascontiguousarray(points, "<i8").data) != found.check:
        raise CodingError("the decoded integers of the field do not have the checksum of the encoder's")
    values = marks.values_of(points, found.bound, marked, found.dtype).reshape(-1)
    patches.apply(values, parts["patches"])
    axes = turned(shape)
    return np.ascontiguousarray(values.reshape(layout.shape).transpose(np.argsort(axes)))


def sizes(data: bytes) -> dict[str, int]:
    """Bytes of the parts of a stream, without decoding it; the rest is ``"head"``.

    A stream that holds the array as it is has the part ``"values"``.
    """
    found = {name: len(part) for name, part in _parts(data, head.MOST_VALUES).parts.items()}
    return {"head": len(data) - sum(found.values()), **found}


def order(data: bytes) -> str:
    """How a stream is coded: ``"raw"``, ``"raster"`` or ``"coarse to fine"``."""
    found = _parts(data, head.MOST_VALUES)
    return "raw" if found.bound is None else "raster" if found.layout.raster else "coarse to fine"


def _parts(data: bytes, most: int) -> _Stream:
    cursor = Cursor(data[:-4], "the field")
    shape, dtype, mode = head.read(cursor, most)
    if len(data) < 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise CodingError("the checksum of the field does not fit its bytes; the file is damaged")
    if mode == head.RAW:
        layout = Layout(shape, 0, False)
        return _Stream(mode, shape, dtype, layout, 0, None, 0, {"values": cursor.take(cursor.left())})
    flags, levels, axes = cursor.take(3)
    bound = Bound(float(np.frombuffer(cursor.take(8), "<f8")[0]), bool(flags & RELATIVE))
    check = int.from_bytes(cursor.take(4), "little")
    coded = tuple(shape[axis] for axis in turned(shape))
    layout = Layout(
        coded, levels, bool(flags & PERIODIC), head.axes_of(axes, shape), raster=bool(flags & RASTER)
    )
    if (
        flags & ~ALL_FLAGS
        or levels >= MOST_LEVELS
        or (layout.raster and levels)
        or not layout.has_few_passes()
        or bound.unit < LEAST_UNIT
        or (bound.relative and flags & MAPPED)
    ):
        raise CodingError("the header of the field is damaged, or of a newer version")
    names = [*PARTS[:7], *PARTS[7:8] * bool(flags & MAPPED), *PARTS[8:] * bool(flags & BASE)]
    parts = {name: cursor.take(cursor.varint(len(data))) for name in names}
    cursor.end()
    return _Stream(mode, shape, dtype, layout, flags, bound, check, parts)


def _network_of(data: bytes, flags: int, layout: Layout, network: Network | None) -> Network:
    if not flags & OUTSIDE:
        return weights.Weights.decode(data, layout.levels_used).network
    if network is None or weights.digest(network) != data:
        raise SzilardError("the field was coded with weights that are not in its stream; open it with those")
    return network
