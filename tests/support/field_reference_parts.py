"""Reads the sections of a stream of a field, written only from docs/codec_format.md: slow, without szilard.

:mod:`field_reference` puts them together. The adaptive stream is that of :mod:`szd_streams`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from math import factorial, isqrt, prod
from pathlib import Path

import numpy as np
from szd_streams import Adaptive, need

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "codec_format.md").read_text()

STEP = 1023  # width of a bin
FARTHEST = 2**46  # of points, in magnitude
PARTS = ("linear", "first", "second", "last", "biases")
STEPS = {"linear": 14, "first": 12, "second": 12, "last": 16, "biases": 20}  # log2 of the largest steps
MOST = {"linear": 32767, "first": 8191, "second": 8191, "last": 131071, "biases": 2**28 - 1}


def block(name: str) -> list[str]:
    """The words of a block of the page."""
    return PAGE.split(f"<!-- {name} -->\n```text\n")[1].split("```")[0].split()


class Cursor:
    """Reads bytes from the start to the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        need(self.at + n <= len(self.data), "a section ends too early")
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def whole(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self, most: int, least: int = 0) -> int:
        value = place = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << place
            place += 7
            if byte < 128:
                need(byte or place == 7, "a varint is not in its shortest form")
                need(least <= value <= most, "a number is beyond its limits")
                return value
            need(most >> place, "a varint is too long")

    def zigzag(self, most: int) -> int:
        n = self.varint(2 * most + 1)
        value = -(n + 1) // 2 if n % 2 else n // 2
        need(abs(value) <= most, "a number is beyond its limits")
        return value

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        need(self.at == len(self.data), "a section has bytes left over")


class Matrices(Adaptive):
    """An adaptive stream of matrices."""

    def table(self, rows: int, columns: int, model: str = "NEIGHBOURS") -> np.ndarray:
        need(rows * columns <= 5700 * len(self.data) + 8, "a matrix is too large for its bytes")
        return np.array(self.matrix(rows, columns, model), np.int64).reshape(rows, columns)


@dataclass
class Layout:
    """Shape and order of a field.

    Attributes:
        shape: of the array.
        levels: halvings of a slice.
        periodic, raster: flags of the stream.
    """

    shape: tuple[int, ...]
    levels: int
    periodic: bool
    raster: bool

    @property
    def leading(self) -> tuple[int, ...]:
        return self.shape[:-2]

    @property
    def count(self) -> int:
        """Number of slices."""
        return prod(self.leading)

    @property
    def height(self) -> int:
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def width(self) -> int:
        return self.shape[-1]

    def index(self, number: int) -> tuple[int, ...]:
        """Index of a slice along each leading axis."""
        return tuple(int(i) for i in np.unravel_index(number, self.leading)) if self.leading else ()

    def before(self, number: int, axis: int) -> int | None:
        """Number of the slice before one along a leading axis."""
        return number - prod(self.leading[axis + 1 :]) if self.index(number)[axis] else None


@dataclass
class Weights:
    """The network: five matrices of int64, by name, and the shape of its symbols' tables."""

    shape: int
    parts: dict[str, np.ndarray]

    @property
    def hidden(self) -> int:
        return len(self.parts["first"])

    def hash(self) -> bytes:
        """The section of a stream whose weights these are, but elsewhere."""
        data = bytes([self.shape])
        for name in PARTS:
            data += self.parts[name].size.to_bytes(8, "little") + self.parts[name].astype("<i8").tobytes()
        return hashlib.sha256(data).digest()[:8]


def shapes_of(hidden: int) -> dict[str, tuple[int, int]]:
    return {
        "linear": (18, 23),
        "first": (hidden, 31),
        "second": (hidden, hidden),
        "last": (2, hidden),
        "biases": (1, 2 * hidden + 2),
    }


def read_weights(data: bytes, rows: int) -> Weights:
    """The weights of a section in which so many rows of `linear` are coded."""
    cursor = Cursor(data)
    head = cursor.byte()
    shape, hidden = head >> 6, head & 63
    need(shape < 3 and hidden <= 32, "the weights are none")
    if hidden:
        start = {name: np.zeros(size, np.int64) for name, size in shapes_of(hidden).items()}
    else:
        start = read_weights((ROOT / "src/szilard/codec/default.bin").read_bytes(), 18).parts
        hidden = len(start["first"])
    steps = {name: cursor.byte() for name in PARTS}
    stream = Matrices(cursor.rest())
    for name, (height, width) in shapes_of(hidden).items():
        if steps[name] == 31 and not head & 63:
            continue
        need(steps[name] <= STEPS[name], "a step of the weights is too large")
        coded = rows if name == "linear" else height
        start[name][:coded] += stream.table(coded, width) << steps[name]
        need(np.abs(start[name]).max() <= MOST[name], "a weight is too large")
    stream.end()
    return Weights(shape, start)


class Bins:
    """The sections of symbols, plain bits and escapes."""

    def __init__(self, symbols: bytes, plain: bytes, escapes: bytes, shape: int) -> None:
        self.words, self.plain, self.escapes = Cursor(symbols), plain, Cursor(escapes)
        self.shape, self.count, self.bit = shape, 0, 0
        lanes = self.words.byte()
        need(lanes <= 8, "there are too many lanes")
        self.lanes = [self.words.whole(8) for _ in range(1 << lanes)]
        need(all(2**31 <= x < 2**63 for x in self.lanes), "a lane's state is none")
        frequencies = np.frombuffer((ROOT / "src/szilard/coding/shapes.bin").read_bytes(), "<u2")
        self.tables = frequencies.reshape(120, 128).astype(np.int64)
        self.starts: dict[int, list[int]] = {}

    def symbol(self, table: int) -> int:
        if table not in self.starts:
            self.starts[table] = [0, *self.tables[table].cumsum().tolist()]
        starts = self.starts[table]
        lane = self.count % len(self.lanes)
        self.count += 1
        x = self.lanes[lane]
        slot = x & 65535
        found = bisect_right(starts, slot) - 1
        x = (starts[found + 1] - starts[found]) * (x >> 16) + slot - starts[found]
        self.lanes[lane] = x << 32 | self.words.whole(4) if x < 2**31 else x
        return found

    def lower(self, bits: int) -> int:
        value = 0
        for i in range(bits):
            need(self.bit < 8 * len(self.plain), "the plain bits end too early")
            value |= (self.plain[self.bit >> 3] >> (self.bit & 7) & 1) << i
            self.bit += 1
        return value

    def next(self, scale: int) -> int:
        """The next bin."""
        bits = max(scale - 36, 0) // 4
        found = self.symbol(40 * self.shape + (36 + scale % 4 if bits else scale))
        upper = self.escapes.zigzag((2**47 // STEP >> bits) + 1) if found == 127 else found - 63
        return (upper << bits) + self.lower(bits) - (1 << bits >> 1)

    def end(self) -> None:
        self.words.end()
        self.escapes.end()
        need(all(x == 2**31 for x in self.lanes), "the symbols are not used up")
        left = 8 * len(self.plain) - self.bit
        need(left < 8 and not self.lower(left), "there are plain bits left over")


def read_marks(data: bytes, layout: Layout, marked: bool, constants: int) -> tuple[np.ndarray, np.ndarray]:
    """Marks, and the points of the coarse grid: a row for each slice."""
    stream = Matrices(data)
    values = layout.height * layout.width
    marks = np.zeros((layout.count, values), np.int64)
    if marked:
        marks = stream.table(layout.count * layout.height, layout.width).reshape(layout.count, values)
        need(marks.min() >= 0 and marks.max() < 2 + constants, "a mark is none")
    points = stream.table(layout.count, len(coarse(layout))).cumsum(1) * STEP
    need(np.abs(points).max() <= FARTHEST, "a point is too large")
    stream.end()
    return marks, points


def coarse(layout: Layout) -> np.ndarray:
    """Numbers of the values of a slice's coarse grid."""
    if layout.raster:
        return np.zeros(1, np.int64)
    h = 1 << layout.levels
    rows, columns = np.arange(0, layout.height, h), np.arange(0, layout.width, h)
    return (rows[:, None] * layout.width + columns).ravel()


def width_of_bins(exponent: int) -> int:
    return 2 * isqrt(isqrt(2 ** (36 + exponent))) - 1


def read_map(data: bytes, layout: Layout) -> np.ndarray:
    """The exponent of each value, a row for each slice."""
    cursor = Cursor(data)
    side, axis = cursor.byte(), cursor.byte()
    need(side <= 4 and axis <= len(layout.leading), "the map is none")
    high, wide = -(-layout.height >> side), -(-layout.width >> side)
    stream = Matrices(cursor.rest())
    blocks = stream.table(layout.count * high, wide).reshape(layout.count, high, wide)
    stream.end()
    for number in range(layout.count):
        before = layout.before(number, axis - 1) if axis else None
        if before is None:
            blocks[number, :, 0] = blocks[number, :, 0].cumsum()
            blocks[number] = blocks[number].cumsum(1)
        else:
            blocks[number] += blocks[before]
    need(blocks.min() >= 0 and blocks.max() <= 80, "an exponent is none")
    fine = blocks.repeat(1 << side, 1).repeat(1 << side, 2)[:, : layout.height, : layout.width]
    return fine.reshape(layout.count, -1)


def cosine(m: np.ndarray, n: int) -> np.ndarray:
    """cos(pi/2 * m / n) in 2^-16."""
    m = m % (4 * n)
    m = np.where(m > 2 * n, 4 * n - m, m)
    negative = m > n
    m = np.where(negative, 2 * n - m, m)
    near = 2 * m <= n
    angle = (((np.where(near, m, n - m) << 30) // n) * 1686629713) >> 30
    square = (angle * angle) >> 30

    def series(odd: int) -> np.ndarray:
        total = np.zeros_like(angle)
        for i in range(6, -1, -1):
            f = factorial(2 * i + odd)
            total = (-1) ** i * ((2**30 + f // 2) // f) + ((total * square) >> 30)
        return total

    total = np.where(near, series(0), (angle * series(1)) >> 30)
    found = (total + 8192) >> 14
    return np.where(negative, -found, found)


def waves(n: int, count: int, around: bool) -> tuple[np.ndarray, list[int], list[bool]]:
    """Waves of an axis: values (a row for each wave), `half` of each, and whether it is halved."""
    places = np.arange(n)
    values, halves, halved = [], [], []
    for w in range(count):
        half = 2 * ((w + 1) // 2) if around else w
        m = 2 * half * places - (n if w % 2 == 0 and w else 0) if around else 2 * w * places + w
        values.append(cosine(m, n))
        halves.append(half)
        halved.append(w != 0 and not (around and half == n))
    return np.stack(values), halves, halved


def read_base(data: bytes, layout: Layout) -> np.ndarray:
    """What is added to the points, in the order of the array."""
    cursor = Cursor(data)
    step, offset = cursor.varint(2**30, 1), cursor.zigzag(2**45)
    lengths = [*layout.leading, layout.height, layout.width]
    need(max(lengths) <= 2**20, "an axis is too long")
    counts = [cursor.varint(min(n, 256, max(1, 2**21 // n)), 1) for n in lengths]
    kept = cursor.varint(counts[-2] * counts[-1], 1)
    stream = Matrices(cursor.rest())
    levels = stream.table(kept, prod(counts[:-2]), "HISTORY")
    stream.end()
    last = len(lengths) - 1
    axes = [
        waves(n, c, layout.periodic and i == last)
        for i, (n, c) in enumerate(zip(lengths, counts, strict=True))
    ]
    pairs = [(w, v) for w in range(counts[-2]) for v in range(counts[-1])]
    rows, columns = axes[-2][1], axes[-1][1]
    pairs.sort(key=lambda pair: (rows[pair[0]] * layout.width) ** 2 + (columns[pair[1]] * layout.height) ** 2)
    full = np.zeros(counts, object)
    for (w, v), line in zip(pairs, levels.tolist(), strict=False):
        full[..., w, v] = np.array(line, object).reshape(counts[:-2])
    sizes = [max(1, isqrt((step * step << (24 + j)) // prod(lengths))) for j in range(len(lengths) + 1)]
    for index in np.ndindex(*counts):
        full[index] *= sizes[sum(axes[i][2][w] for i, w in enumerate(index))]
    for axis, (values, _, _) in enumerate(axes):
        need((np.abs(full).sum(axis) << 16).max() <= 2**52, "a base is too large")
        full = full.astype(np.int64)
        moved = (np.moveaxis(full, axis, -1) @ values + 32768) >> 16
        full = np.moveaxis(moved, -1, axis)
    return (((full + 2048) >> 12) + offset).reshape(layout.count, -1)


def patch(data: bytes, array: np.ndarray) -> None:
    """Replace the patched values of an array of one axis."""
    cursor = Cursor(data)
    gaps = [cursor.varint(len(array)) for _ in range(cursor.varint(len(array)))]
    at = -1
    places = []
    for gap in gaps:
        at += 1 + gap
        need(at < len(array), "a patch is outside the array")
        places.append(at)
    array[places] = np.frombuffer(cursor.take(len(places) * array.itemsize), array.dtype)
    cursor.end()
