"""A reference decoder of streams of fields, written only from docs/codec_format.md: slow, without szilard.

It returns the array, so that tests can compare the library with the documentation, and it refuses what a reader must
refuse. :mod:`field_reference_parts` reads the sections.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import isfinite, prod

import numpy as np
from field_reference_parts import (
    FARTHEST,
    STEP,
    Bins,
    Cursor,
    Layout,
    Weights,
    block,
    coarse,
    patch,
    read_base,
    read_map,
    read_marks,
    read_weights,
    width_of_bins,
)
from szd_streams import Refused, need

__all__ = ["Refused", "decode"]

PERIODIC, RELATIVE, MARKED, OUTSIDE, RASTER, MAPPED, BASE, UNKNOWN = (1 << i for i in range(8))
TYPES = ("<f4", "<f8")
FAR = 2**30


def distances(*names: str) -> np.ndarray:
    return np.array([word.split(",") for name in names for word in block(name)]).astype(np.int64)


CENTRE, EDGE, CORNER, BEFORE = (
    distances("centre"),
    distances("edge"),
    distances("edge", "corner"),
    distances("raster"),
)
TAYLOR = [float(word) for word in block("taylor")]


def decode(data: bytes, outside: bytes | None = None) -> np.ndarray:
    """The array of a stream.

    Args:
        data: the stream.
        outside: a section of weights with all rows of `linear`, for a stream whose weights are elsewhere.

    Raises:
        Refused: the bytes are invalid according to the documentation.
    """
    cursor = Cursor(data[:-4])
    need(cursor.take(4) == b"SZF1", "this is no field")
    mode, kind, axes = cursor.byte(), cursor.byte(), cursor.byte()
    need(mode <= 1 and kind <= 1 and 1 <= axes <= 5, "the header is none")
    shape = tuple(cursor.varint(2**28) for _ in range(axes))
    need(prod(max(n, 1) for n in shape) <= 2**28, "the array is too large")
    need(zlib.crc32(data[:-4]).to_bytes(4, "little") == data[-4:], "the stream is damaged")
    if not mode:
        return raw(cursor, shape, np.dtype(TYPES[kind]), outside).reshape(shape)
    axes = turned(shape)
    inside = tuple(shape[axis] for axis in axes)
    found = coded(cursor, inside, np.dtype(TYPES[kind]), outside).reshape(inside)
    return np.ascontiguousarray(np.moveaxis(found, range(len(axes)), axes))


def turned(shape: tuple[int, ...]) -> list[int]:
    """The axes in the order in which they are coded."""
    axes = list(range(len(shape)))
    short = [length < 16 for length in shape]
    if len(shape) > 2 and all(short[-2:]) and not all(short):
        longest = sorted(axes, key=lambda axis: (-shape[axis], -axis))[:2]
        axes = [axis for axis in axes if axis not in longest] + sorted(longest)
    return axes


def raw(cursor: Cursor, shape: tuple[int, ...], dtype: np.dtype, _: bytes | None) -> np.ndarray:
    coder = zlib.decompressobj()
    size = prod(shape) * dtype.itemsize
    try:
        found = coder.decompress(cursor.rest(), size + 1)
    except zlib.error as error:
        raise Refused("a zlib stream is none") from error
    need(coder.eof and not coder.unused_data and len(found) == size, "a zlib stream has another length")
    return np.frombuffer(np.frombuffer(found, np.uint8).reshape(dtype.itemsize, -1).T.tobytes(), dtype)


def coded(cursor: Cursor, shape: tuple[int, ...], dtype: np.dtype, outside: bytes | None) -> np.ndarray:
    flags, levels, axes = cursor.byte(), cursor.byte(), cursor.byte()
    need(not flags & UNKNOWN, "there is an unknown flag")
    need(prod(shape) > 0 and levels <= 5 and not (flags & RASTER and levels), "the header is none")
    layout = Layout(shape, levels, bool(flags & PERIODIC), bool(flags & RASTER))
    need(layout.height * layout.width <= 2**24, "a slice is too large")
    need(layout.height * layout.width >= 8 * passes_of(layout), "a slice has too many passes")
    order = axes_of(axes, len(layout.leading))
    unit = unit_of(float(np.frombuffer(cursor.take(8), "<f8")[0]), bool(flags & RELATIVE))
    checksum = cursor.take(4)
    need(not (flags & RELATIVE and flags & MAPPED), "a relative bound has a map")
    most = len(cursor.data) + 4
    sections = [
        cursor.take(cursor.varint(most)) for _ in range(7 + bool(flags & MAPPED) + bool(flags & BASE))
    ]
    cursor.end()

    net = network(sections[0], layout, bool(flags & OUTSIDE), outside)
    need(len(sections[1]) % dtype.itemsize == 0, "the constants are none")
    constants = np.frombuffer(sections[1], dtype)
    need(len(constants) <= 250, "there are too many constants")
    marks, first = read_marks(sections[2], layout, bool(flags & MARKED), len(constants))
    fine = read_map(sections[7], layout) if flags & MAPPED else None
    bins = Bins(sections[3], sections[4], sections[5], net.shape)
    points = all_points(layout, order, net, bins, marks, first, fine)
    bins.end()
    if flags & BASE:
        points += read_base(sections[-1], layout)
    check_points(points, checksum)

    marks = marks.ravel()
    with np.errstate(all="ignore"):
        exact = points.ravel().astype(np.float64) * unit
        if flags & RELATIVE:
            exact = np.where(marks == 1, -1.0, 1.0) * exp2(np.clip(exact, -1100, 1100))
        array = exact.astype(dtype)
    constant = marks >= 2
    array[constant] = constants[marks[constant] - 2]
    patch(sections[6], array)
    return array


def check_points(points: np.ndarray, checksum: bytes) -> None:
    need(zlib.crc32(points.astype("<i8").tobytes()).to_bytes(4, "little") == checksum, "the points differ")


def network(section: bytes, layout: Layout, elsewhere: bool, outside: bytes | None) -> Weights:
    if not elsewhere:
        return read_weights(section, 3 if layout.raster else 3 * layout.levels)
    need(outside is not None, "the weights are elsewhere")
    net = read_weights(outside, 18)
    need(net.hash() == section, "the weights are others")
    return net


def axes_of(byte: int, leading: int) -> list[int]:
    """The axes along which earlier slices predict."""
    first, second = byte & 7, byte >> 3
    need(second < 8 and (first != 7 or second == 7), "the axes are none")
    found = [axis for axis in (first, second) if axis != 7]
    need(len(set(found)) == len(found) and all(axis < leading for axis in found), "the axes are none")
    return found


def unit_of(bound: float, relative: bool) -> float:
    need(isfinite(bound) and bound > 0 and not (relative and bound >= 1), "the bound is none")
    unit = bound / 512
    if relative:
        digits = Context(prec=40, rounding=ROUND_HALF_EVEN)
        two, sum_ = digits.ln(Decimal(2)), digits.add(Decimal(1), Decimal(bound))
        unit = float(digits.divide(digits.ln(sum_), two)) * (1 - 2.0**-10) / 512
    need(unit >= 2.0**-1022, "the bound is too small")
    return unit


def exp2(x: np.ndarray) -> np.ndarray:
    n = np.floor(x + 0.5)
    r = x - n
    t = np.full_like(x, TAYLOR[13])
    for c in TAYLOR[12::-1]:
        t = t * r + c
    return np.ldexp(t, n.astype(np.int32))


@dataclass
class Pass:
    """Targets that are predicted at once: rows, columns and numbers, and the numbers of their neighbours."""

    level: int
    kind: int
    rows: np.ndarray
    columns: np.ndarray
    targets: np.ndarray
    neighbours: np.ndarray


def passes_of(layout: Layout) -> int:
    """Number of passes for which a slice must have values."""
    if layout.raster:
        return layout.width + 3 * layout.height
    counts = [(layout.height > 1 << i) + (layout.width > 1 << i) for i in range(layout.levels)]
    return sum((0, 1, 3)[count] for count in counts)


def from_coarse_to_fine(layout: Layout) -> Iterator[Pass]:
    height, width = layout.height, layout.width
    around = layout.periodic and width % (1 << layout.levels) == 0
    for level in range(layout.levels - 1, -1, -1):
        h = 1 << level
        for kind, offsets in enumerate((CENTRE, EDGE, CORNER)):
            rows = np.arange(0 if kind == 1 else h, height, 2 * h)
            columns = np.arange(0 if kind == 2 else h, width, 2 * h)
            row, column = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
            if not len(row):
                continue
            down, right = h * offsets.T
            i, j = row[:, None] + down, column[:, None] + right
            i = np.where((i < 0) | (i >= height), row[:, None] - down, i)
            j = j % width if around else np.where((j < 0) | (j >= width), column[:, None] - right, j)
            out = (i < 0) | (i >= height) | (j < 0) | (j >= width)
            instead = (row - row % (2 * h)) * width + column - column % (2 * h)
            neighbours = np.where(out, instead[:, None], i * width + j)
            yield Pass(level, kind, row, column, row * width + column, neighbours)


def diagonals(layout: Layout) -> Iterator[Pass]:
    height, width = layout.height, layout.width
    down, right = BEFORE.T
    for total in range(1, width + 3 * height - 3):
        row = np.arange(height)
        row = row[(total - 3 * row >= 0) & (total - 3 * row < width)]
        if not len(row):
            continue
        column = total - 3 * row
        i, j = (row[:, None] + down).clip(0, height - 1), (column[:, None] + right).clip(0, width - 1)
        target = row * width + column
        instead = target - np.where(column > 0, 1, width)
        yield Pass(0, 0, row, column, target, np.where(j + 3 * i < total, i * width + j, instead[:, None]))


def all_points(
    layout: Layout, order: list[int], net: Weights, bins: Bins, marks: np.ndarray, first: np.ndarray,
    fine: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """The points of all slices, a row for each, without the base."""
    points = np.zeros(marks.shape, np.int64)
    passes = list(diagonals(layout) if layout.raster else from_coarse_to_fine(layout))
    for number, plane in enumerate(points):
        plane[coarse(layout)] = first[number]
        anchor = sum(first[number].tolist()) // len(first[number])
        slices = [layout.before(number, axis) for axis in order]
        earlier = [points[before] for before in slices if before is not None]
        place = layout.index(number)[-1] * 256 // max(layout.leading[-1] - 1, 1) if layout.leading else 0
        for step in passes:
            predicted, scales = predict(net, layout, step, plane, earlier, anchor, place)
            for target, point, scale in zip(
                step.targets.tolist(), predicted.tolist(), scales.tolist(), strict=True
            ):
                if marks[number, target] >= 2:
                    plane[target] = min(max(point, -FARTHEST), FARTHEST)
                    continue
                exponent = 0 if fine is None else int(fine[number, target])
                width = STEP if fine is None else width_of_bins(exponent)
                b = bins.next(max(scale - exponent, 0))
                need(fine is None or abs(b) <= 2**47 // width, "a bin is too large")
                need(abs(point + width * b) <= FARTHEST, "a point is too large")
                plane[target] = point + width * b
    return points


def bits(n: np.ndarray) -> np.ndarray:
    return np.frexp(n.astype(np.float64))[1].astype(np.int64)


def lg(n: np.ndarray) -> np.ndarray:
    return 256 * (bits(n) - 1) + ((n << 8) >> (bits(n) - 1)) - 256


def predict(
    net: Weights,
    layout: Layout,
    step: Pass,
    plane: np.ndarray,
    earlier: list[np.ndarray],
    anchor: int,
    place: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted points and scales of the targets of a pass."""
    v = plane[step.neighbours]
    middle = v[:, :4].sum(1) >> 2
    d = np.zeros((len(v), 23), np.int64)
    d[:, : v.shape[1]] = (v - middle[:, None]).clip(-FAR, FAR)
    near = np.maximum(256, np.abs(d[:, :4]).sum(1) >> 2)
    spread = np.maximum(256, np.abs(d[:, :20]).sum(1) >> 4)
    for e, other in enumerate(earlier):
        d[:, 20 + e] = (other[step.targets] - (other[step.neighbours[:, :4]].sum(1) >> 2)).clip(-FAR, FAR)
    d[:, 22] = (anchor - middle).clip(-FAR, FAR)
    exponent = bits(spread)

    inputs = np.zeros((len(v), 31), np.int64)
    inputs[:, :23] = (d << 8) >> exponent[:, None]
    inputs[:, 23] = (lg(near) - 3328) >> 1
    inputs[:, 24] = (lg(spread) - 3328) >> 1
    inputs[:, 25] = np.abs(2 * step.rows - (layout.height - 1)) * 256 // max(layout.height - 1, 1)
    inputs[:, 26 + step.kind] = 256
    inputs[:, 29] = 128 * step.level
    inputs[:, 30] = place
    inputs = inputs.clip(-4095, 4095)

    hidden, parts = net.hidden, net.parts
    biases = parts["biases"][0]
    one = ((inputs @ parts["first"].T + biases[:hidden] + 512) >> 10).clip(0, 4095)
    two = ((one @ parts["second"].T + biases[hidden : 2 * hidden] + 512) >> 10).clip(0, 4095)
    two = (one + two).clip(0, 4095)
    sums = two @ parts["last"].T + 16 * biases[2 * hidden :]
    shift = ((sums[:, 0] + 128) >> 8).clip(-2097151, 2097151)
    width = ((sums[:, 1] + 8192) >> 14).clip(-32768, 32767)
    linear = parts["linear"][3 * step.level + step.kind]
    predicted = middle + ((d @ linear + 8192) >> 14) + ((shift << exponent) >> 14)
    return predicted, (((width + lg(spread) - 2784) >> 6) + 32).clip(0, 155)
