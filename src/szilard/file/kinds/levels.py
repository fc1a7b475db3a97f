"""Kind 4, levels: a quantised tensor, as integers in the two streams."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from szilard.coding import LARGEST, Encoder, Model
from szilard.coding.static import MOST_SYMBOLS, Table
from szilard.file import dtypes
from szilard.file.cursor import Cursor, varints, zigzags
from szilard.file.decoding import Decoding
from szilard.file.encoding import Encoding, size_of
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import Cost, Fields, Row, SteppedFields
from szilard.file.inplace import narrowed
from szilard.file.pieces import matrix
from szilard.file.quantised import Levels, check_step, check_type, keep_levels
from szilard.file.records import Record

__all__ = ["PLAIN", "Coding", "Levels", "LevelsFields", "cheaper_by_table", "put"]

_OFFSET_BITS = 16  # approximate bits that an offset adds to the table of fields


class Coding(enum.IntFlag):
    """How a record of levels is coded; bits of one number."""

    HISTORY = 1  # the model HISTORY of the coder instead of NEIGHBOURS
    ROW_SCALE = 2
    COL_SCALE = 4
    STATIC = 8  # in the static stream, under a table in the adaptive stream


PLAIN = Coding(0)


@dataclass(frozen=True, slots=True)
class LevelsFields(SteppedFields):
    """How levels are coded; the levels are in the streams.

    Attributes:
        offset: added to the coded levels; for static levels, the lowest one.
        alphabet: for static levels, the number of distinct ones.
        row_offset, col_offset: as ``offset``, for the codes of scales.
    """

    offset: int = 0
    alphabet: int = 0
    coding: Coding = PLAIN
    row_offset: int = 0
    col_offset: int = 0

    word: ClassVar[str] = "levels"
    record: ClassVar[type[Record]] = Levels

    @property
    def symbols(self) -> int:
        """As :attr:`Fields.symbols`."""
        rows, cols = matrix(self.shape)
        scales = rows * (Coding.ROW_SCALE in self.coding) + cols * (Coding.COL_SCALE in self.coding)
        return scales + (2 * self.alphabet - 1 if self.static_symbols else self.elements)

    @property
    def static_symbols(self) -> int:
        """As :attr:`Fields.static_symbols`."""
        return self.elements if Coding.STATIC in self.coding else 0

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """As :meth:`Fields.put_columns`."""

        def coded(which: Coding) -> list[LevelsFields]:
            return [fields for fields in table if which in fields.coding]

        return b"".join((
            zigzags(fields.offset for fields in table),
            varints(fields.coding for fields in table),
            varints(fields.alphabet for fields in coded(Coding.STATIC)),
            zigzags(fields.row_offset for fields in coded(Coding.ROW_SCALE)),
            zigzags(fields.col_offset for fields in coded(Coding.COL_SCALE)),
        ))  # fmt: skip

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """As :meth:`Fields.take_columns`."""

        def coded(which: Coding) -> list[Row]:
            return [row for row in rows if which in row["coding"]]

        for row in rows:
            row["offset"] = cursor.zigzag(LARGEST)
        for row in rows:
            row["coding"] = Coding(cursor.varint(max(Coding) * 2 - 1))
        for row in coded(Coding.STATIC):
            row["alphabet"] = cursor.varint(MOST_SYMBOLS)
        for row in coded(Coding.ROW_SCALE):
            row["row_offset"] = cursor.zigzag(128)
        for row in coded(Coding.COL_SCALE):
            row["col_offset"] = cursor.zigzag(128)

    def check(self) -> None:
        """As :meth:`Fields.check`."""
        if not self.elements and self.coding & (Coding.ROW_SCALE | Coding.COL_SCALE):
            raise Broken("an empty tensor has scales")
        if Coding.STATIC in self.coding and (
            self.alphabet < 2 or Coding.HISTORY in self.coding or not self.elements
        ):
            raise Broken("a tensor of static levels has invalid fields")

    @classmethod
    def encode(cls, record: Levels, encoding: Encoding) -> tuple[Fields, Cost]:
        """As :meth:`Fields.encode`."""
        fields, cost = put(record, encoding)
        encoding.hash(record.name, fields.type, record.shape, record.pieces())
        return fields, cost

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        record, cost = self.take(name, decoding)
        return keep_levels(record, decoding), cost

    def take(self, name: str, decoding: Decoding) -> tuple[Levels, Cost]:
        """The next levels of the streams, and their code length if the decoders count it.

        Raises:
            Broken: :func:`put` cannot have written them.
            CodingError: likewise.
        """
        adaptive, static = decoding.adaptive, decoding.static
        rows, cols = matrix(self.shape)
        row_scale = col_scale = None
        begun = adaptive.bits
        if Coding.ROW_SCALE in self.coding:
            row_scale = _scale(adaptive.levels(1, rows)[0], self.row_offset)
        if Coding.COL_SCALE in self.coding:
            col_scale = _scale(adaptive.levels(1, cols)[0], self.col_offset)
        settled = adaptive.bits
        bits = 0.0
        if not self.elements:
            levels = np.zeros(self.shape, np.int32)
        elif Coding.STATIC in self.coding:
            gaps, rises = adaptive.levels(1, self.alphabet - 1)[0], adaptive.levels(1, self.alphabet)[0]
            table = Table.from_sides(self.offset, gaps, rises)
            if int(table.symbols[-1]) > LARGEST:
                raise Broken("a level is too large")
            settled, bits = adaptive.bits, -static.bits
            levels = static.levels(self.elements, table)
            bits += static.bits
        else:
            levels = adaptive.levels(rows, cols, _model(self))
            bits = adaptive.bits - settled
            if self.offset:
                levels += self.offset
        if levels.size and max(-int(levels.min()), int(levels.max())) > LARGEST:
            raise Broken("a level is too large")
        levels = levels.reshape(self.shape)
        record = Levels(name, self.type.name, self.shape, levels, self.step, row_scale, col_scale)
        return record, (bits, settled - begun)


def put(record: Levels, encoding: Encoding) -> tuple[LevelsFields, Cost]:
    """Check and code a record; it is not added to the hash.

    Raises:
        SzilardFileError: it breaks a rule of the format.
    """
    fields = _plan(encoding.adaptive, record, _checked(record), record.name in encoding.by_table)
    side_bits = 0.0
    for codes, offset in ((record.row_scale, fields.row_offset), (record.col_scale, fields.col_offset)):
        if codes is not None:
            side_bits += encoding.adaptive.levels(codes.astype(np.int32) - offset)
    if not fields.elements:
        return fields, (0.0, side_bits)
    if Coding.STATIC not in fields.coding:
        return fields, (
            encoding.adaptive.levels(_without(record, fields.offset), _model(fields)), side_bits,
        )  # fmt: skip
    table = _table(record)
    _, gaps, rises = table.sides()
    side_bits += encoding.adaptive.levels(gaps) + encoding.adaptive.levels(rises)
    encoding.static.levels(record.levels, table)
    return fields, (table.bits(record.levels), side_bits)


def cheaper_by_table(record: Levels, adaptive_bits: float) -> bool:
    """Whether levels are likely to take fewer bits under their own table than they took in the adaptive stream."""
    table = Table.of(record.levels) if record.levels.size else None
    if table is None:
        return False
    _, gaps, rises = table.sides()  # code lengths under models that have not adapted yet
    return table.bits(record.levels) + Encoder().rate(gaps) + Encoder().rate(rises) < adaptive_bits


def _checked(record: Levels) -> LevelsFields:
    """The fields of a record that do not depend on how its levels are coded."""
    dtype = dtypes.named(record.dtype)
    check_type(record.name, dtype, "levels")
    size_of(record.name, record.shape)
    levels = record.levels
    if levels.shape != record.shape or not np.issubdtype(levels.dtype, np.signedinteger):
        raise SzilardFileError(f"the levels of {record.name} must be integers of its shape; fix the record")
    if levels.size and max(-int(levels.min()), int(levels.max())) > LARGEST:
        raise SzilardFileError(f"the levels of {record.name} are outside ±{LARGEST}; take a larger step")
    check_step(record.name, record.step)
    for codes, length in zip((record.row_scale, record.col_scale), matrix(record.shape), strict=True):
        if codes is not None and (codes.dtype != np.int8 or codes.shape != (length,) or not levels.size):
            raise SzilardFileError(f"scales of {record.name} must be {length} int8 codes; fix the record")
    coding = Coding.ROW_SCALE if record.row_scale is not None else PLAIN
    coding |= Coding.COL_SCALE if record.col_scale is not None else PLAIN
    row, col = _median(record.row_scale), _median(record.col_scale)
    return LevelsFields(dtype, record.shape, record.step, coding=coding, row_offset=row, col_offset=col)


def _plan(encoder: Encoder, record: Levels, fields: LevelsFields, static: bool) -> LevelsFields:
    """Complete the fields of a record: choose how its levels are coded.

    Args:
        encoder: the adaptive stream up to here.
        static: code the levels under their table (:meth:`szilard.coding.static.Table.of`).
    """
    if not record.levels.size:
        return fields
    if static:
        table = _table(record)
        coding = fields.coding | Coding.STATIC
        return replace(fields, coding=coding, offset=int(table.symbols[0]), alphabet=len(table.symbols))
    middle = _median(record.levels)
    if max(middle - int(record.levels.min()), int(record.levels.max()) - middle) > LARGEST:
        middle = 0
    candidates = []
    for offset in {0, middle}:
        levels = _without(record, offset)  # takes the most memory here: one at a time
        candidates += [
            (encoder.rate(levels, model) + _OFFSET_BITS * (offset != 0), abs(offset), offset, model)
            for model in (Model.NEIGHBOURS, Model.HISTORY)
        ]
        del levels
    _, _, offset, model = min(candidates)
    coding = fields.coding | (Coding.HISTORY if model == Model.HISTORY else 0)
    return replace(fields, coding=coding, offset=offset)


def _without(record: Levels, offset: int) -> np.ndarray:
    """The levels minus an offset, int32 ``[rows, cols]``."""
    levels = record.levels.reshape(matrix(record.shape))
    return np.subtract(levels, offset, dtype=np.int32) if offset else np.asarray(levels, np.int32)


def _table(record: Levels) -> Table:
    """The table of a record; raises if there is none."""
    table = Table.of(record.levels)
    if table is None:
        raise SzilardFileError(f"the levels of {record.name} cannot have a table; fix the record")
    return table


def _model(fields: LevelsFields) -> Model:
    return Model.HISTORY if Coding.HISTORY in fields.coding else Model.NEIGHBOURS


def _scale(codes: np.ndarray, offset: int) -> np.ndarray:
    codes += offset  # cannot overflow: both are below 2^23
    if codes.min() < -128 or codes.max() > 127:
        raise Broken("a scale is too large")
    return narrowed(codes, np.dtype(np.int8))


def _median(values: np.ndarray | None) -> int:
    """The lower median, an integer; 0 if there are no values."""
    if values is None or not values.size:
        return 0
    flat = values.reshape(-1)
    return int(np.partition(flat, (flat.size - 1) // 2)[(flat.size - 1) // 2])
