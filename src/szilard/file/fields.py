"""What a file says of each tensor besides its name and its values, as columns, which deflate better than rows."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from szilard.coding import LARGEST
from szilard.coding.static import MOST_SYMBOLS
from szilard.file import deflate, dtypes, steps
from szilard.file.cursor import Cursor, varints, zigzags
from szilard.file.dtypes import DType
from szilard.file.error import Broken
from szilard.file.records import Shape, matrix

MOST_RECORDS = 1 << 13
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 33
MOST_MASK = (1 << 31) - 1  # its columns are int32
MOST_RANDOM = 1 << 21  # entries of one such tensor
MOST_BLOCK = 256  # entries of a block of it
INDEX_BITS = 8, 20  # fewest and most
_MOST_SEED = (1 << 32) - 1
_MOST_BYTES = 128  # of one record's fields
_WHAT = "the table of fields"


class Kind(enum.IntEnum):
    """How a record lies in the file; three bits, and all are taken."""

    RAW = 0  # its bytes
    PLANES = (
        1  # its bytes, deflated: first those that are first in their entry, then those that are second, ...
    )
    CONSTANT = 2  # one entry
    ALIAS = 3  # the number of an earlier tensor
    LEVELS = 4  # in the stream
    MASK = 5  # in the stream
    FULL_MASK = 6  # every entry exists
    RANDOM = 7  # numbers of candidates, in the raw part


class Coding(enum.IntFlag):
    """How a record of levels is coded; bits of one number."""

    HISTORY = 1  # the coder's model HISTORY instead of NEIGHBOURS
    ROW_SCALE = 2
    COL_SCALE = 4
    STATIC = 8  # in the static stream, under a table that is in the adaptive one


PLAIN = Coding(0)


@dataclass(frozen=True, slots=True)
class Fields:
    """What the table says of one record; None or 0 where it does not apply.

    Attributes:
        dtype: of the tensor; None for an alias and a mask.
        stored: bytes of deflated planes.
        data: the entry of a constant.
        target: the number of the tensor that an alias shares, among all tensors of the file.
        step: code of the step of levels, or of what is random.
        offset: added to the coded levels; of static ones the lowest level.
        alphabet: of static levels, how many different ones there are.
        row_offset, col_offset: the same for the codes of scales.
        seed, size, bits: of what is random, see :class:`szilard.file.records.Random`.
    """

    kind: Kind
    dtype: DType | None
    shape: Shape = ()
    stored: int = 0
    data: bytes = b""
    target: int = 0
    step: int = 0
    offset: int = 0
    alphabet: int = 0
    coding: Coding = PLAIN
    row_offset: int = 0
    col_offset: int = 0
    seed: int = 0
    size: int = 0
    bits: int = 0

    @property
    def type(self) -> DType:
        """Of a tensor's entries; aliases and masks have none, and nobody asks them."""
        if self.dtype is None:
            raise TypeError(f"a record of kind {self.kind.name} has no type")
        return self.dtype

    @property
    def elements(self) -> int:
        """Entries of the tensor, or of the mask."""
        return math.prod(self.shape)

    @property
    def symbols(self) -> int:
        """Integers of the record that are in the adaptive stream."""
        if self.kind == Kind.MASK:
            return self.elements
        if self.kind != Kind.LEVELS:
            return 0
        rows, cols = matrix(self.shape)
        scales = rows * (Coding.ROW_SCALE in self.coding) + cols * (Coding.COL_SCALE in self.coding)
        return scales + (2 * self.alphabet - 1 if self.static_symbols else self.elements)

    @property
    def static_symbols(self) -> int:
        """Integers of the record that are in the static stream."""
        return self.elements if Coding.STATIC in self.coding else 0

    @property
    def raw_bytes(self) -> int:
        """Bytes of the record in the section of raw bytes."""
        if self.kind == Kind.RAW:
            return self.elements * self.type.size
        if self.kind == Kind.RANDOM:
            return (self.blocks * self.bits + 7) // 8
        return self.stored

    @property
    def blocks(self) -> int:
        """Blocks of what is random."""
        return -(-self.elements // self.size)

    @property
    def output_bytes(self) -> int:
        """Bytes of the tensors that the record stands for; of a mask, the most that they can be."""
        if self.dtype is None:
            return 0 if self.kind == Kind.ALIAS else 4 * (self.shape[0] + 1 + self.elements)
        return self.elements * self.dtype.size


def pack(table: Sequence[Fields]) -> bytes:
    """The block of fields."""

    def of(*kinds: Kind) -> list[Fields]:
        return [fields for fields in table if fields.kind in kinds]

    def coded(which: Coding) -> list[Fields]:
        return [fields for fields in levels if which in fields.coding]

    levels = of(Kind.LEVELS)
    shaped = [fields for fields in table if fields.kind != Kind.ALIAS]
    codes = [fields.step for fields in of(Kind.LEVELS, Kind.RANDOM)]
    columns = [
        bytes(fields.kind << 5 | (0 if fields.dtype is None else fields.dtype.code) for fields in table),
        varints(len(fields.shape) for fields in shaped if fields.dtype is not None),
        varints(size for fields in shaped for size in fields.shape),
        zigzags(after - before for before, after in zip([0, *codes], codes, strict=False)),
        zigzags(fields.offset for fields in levels),
        varints(fields.coding for fields in levels),
        varints(fields.alphabet for fields in coded(Coding.STATIC)),
        zigzags(fields.row_offset for fields in coded(Coding.ROW_SCALE)),
        zigzags(fields.col_offset for fields in coded(Coding.COL_SCALE)),
        varints(fields.stored for fields in of(Kind.PLANES)),
        varints(fields.target for fields in of(Kind.ALIAS)),
        b"".join(fields.data for fields in of(Kind.CONSTANT)),
        *(varints(getattr(fields, what) for fields in of(Kind.RANDOM)) for what in ("seed", "size", "bits")),
    ]
    return deflate.compress(b"".join(columns))


def unpack(block: bytes, count: int) -> list[Fields]:
    """The fields of ``count`` records.

    Raises:
        Broken: they are not what :func:`pack` can have written.
    """
    cursor = Cursor(deflate.expand(block, _MOST_BYTES * count, _WHAT), _WHAT)
    rows: list[dict[str, Any]] = [_head(byte) for byte in cursor.take(count)]

    def of(*kinds: Kind) -> list[dict[str, Any]]:
        return [row for row in rows if row["kind"] in kinds]

    def with_coding(which: Coding) -> list[dict[str, Any]]:
        return [row for row in levels if which in row["coding"]]

    levels = of(Kind.LEVELS)
    ndims = [_ndim(row, cursor) for row in rows]
    for row, ndim in zip(rows, ndims, strict=True):
        row["shape"] = tuple(cursor.varint(MOST_ELEMENTS) for _ in range(ndim))
    step = 0
    for row in of(Kind.LEVELS, Kind.RANDOM):
        step += cursor.zigzag(steps.HIGHEST - steps.LOWEST)
        row["step"] = step
    for row in levels:
        row["offset"] = cursor.zigzag(LARGEST)
    for row in levels:
        row["coding"] = Coding(cursor.varint(max(Coding) * 2 - 1))
    for row in with_coding(Coding.STATIC):
        row["alphabet"] = cursor.varint(MOST_SYMBOLS)
    for row in with_coding(Coding.ROW_SCALE):
        row["row_offset"] = cursor.zigzag(128)
    for row in with_coding(Coding.COL_SCALE):
        row["col_offset"] = cursor.zigzag(128)
    for row in of(Kind.PLANES):
        row["stored"] = cursor.varint(MOST_ELEMENTS * 16)
    for row in of(Kind.ALIAS):
        row["target"] = cursor.varint(2 * MOST_RECORDS)
    for row in of(Kind.CONSTANT):
        row["data"] = cursor.take(row["dtype"].size)
    _take_random(of(Kind.RANDOM), cursor)
    cursor.end()
    table = [Fields(**row) for row in rows]
    for fields in table:
        _check(fields)
    return table


def _take_random(rows: list[dict[str, Any]], cursor: Cursor) -> None:
    for what, most in (("seed", _MOST_SEED), ("size", MOST_BLOCK), ("bits", INDEX_BITS[1])):
        for row in rows:
            row[what] = cursor.varint(most)


def _ndim(row: dict[str, Any], cursor: Cursor) -> int:
    if row["kind"] == Kind.ALIAS:
        return 0
    return 2 if row["dtype"] is None else cursor.varint(MOST_DIMENSIONS)


def _head(byte: int) -> dict[str, Any]:
    kind, code = byte >> 5, byte & 31
    if kind in (Kind.ALIAS, Kind.MASK, Kind.FULL_MASK):
        if code:
            raise Broken("the table of fields gives a type to a record that has none")
        return {"kind": Kind(kind), "dtype": None}
    if code >= len(dtypes.TYPES):
        raise Broken("it holds a type of tensor that this version of szilard does not know")
    return {"kind": Kind(kind), "dtype": dtypes.TYPES[code]}


def _check(fields: Fields) -> None:
    if math.prod(max(size, 1) for size in fields.shape) > MOST_ELEMENTS:
        raise Broken("a tensor is larger than the format allows")
    if fields.kind in (Kind.LEVELS, Kind.RANDOM):
        if not fields.type.holds_levels:
            raise Broken("levels are given to a type that cannot have them")
        if not steps.LOWEST <= fields.step <= steps.HIGHEST:
            raise Broken("a step is beyond float32")
    if fields.kind == Kind.LEVELS:
        if not fields.elements and fields.coding & (Coding.ROW_SCALE | Coding.COL_SCALE):
            raise Broken("an empty tensor has scales")
        if Coding.STATIC in fields.coding and (
            fields.alphabet < 2 or Coding.HISTORY in fields.coding or not fields.elements
        ):
            raise Broken("a tensor of static levels is badly described")
    if fields.kind == Kind.RANDOM and not (
        fields.size and fields.bits >= INDEX_BITS[0] and 0 < fields.elements <= MOST_RANDOM
    ):
        raise Broken("a tensor of random levels is badly described")
    if fields.kind == Kind.CONSTANT and not fields.elements:
        raise Broken("an empty tensor is given as a constant")
    if fields.kind == Kind.MASK and not fields.elements:
        raise Broken("an empty support is not given as a full one")
    if fields.kind in (Kind.MASK, Kind.FULL_MASK) and fields.elements > MOST_MASK:
        raise Broken("a support is larger than the format allows")
