"""How quantised tensors and supports lie in the two streams of a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from szilard.coding import LARGEST, Decoder, Encoder, Model
from szilard.coding.static import StaticDecoder, StaticEncoder, Table
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import Coding, Fields, Kind
from szilard.file.inplace import narrowed
from szilard.file.records import Levels, Mask, matrix

_OFFSET_BITS = 16  # what an offset adds to the table of fields, about


class Streams:
    """The streams of a file that is written; the static one is begun when it is needed."""

    def __init__(self) -> None:
        self.adaptive = Encoder()
        self._static: StaticEncoder | None = None

    @property
    def static(self) -> StaticEncoder:
        if self._static is None:
            self._static = StaticEncoder()
        return self._static

    def finish(self, adaptive: bool) -> tuple[bytes, bytes]:
        """Both streams; the first only if anything was put into it."""
        return (
            self.adaptive.finish() if adaptive else b"",
            b"" if self._static is None else self._static.finish(),
        )


def plan(encoder: Encoder, record: Levels, fields: Fields, static: bool) -> Fields:
    """Complete the fields of a record by how its levels are coded.

    Args:
        encoder: the adaptive stream up to here.
        static: code them under a table; they have one (:meth:`szilard.coding.static.Table.of`).
    """
    fields = replace(fields, row_offset=_median(record.row_scale), col_offset=_median(record.col_scale))
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
        levels = _without(record, offset)  # takes more memory than anything else here: one at a time
        candidates += [
            (encoder.rate(levels, model) + _OFFSET_BITS * (offset != 0), abs(offset), offset, model)
            for model in (Model.NEIGHBOURS, Model.HISTORY)
        ]
        del levels
    _, _, offset, model = min(candidates)
    coding = fields.coding | (Coding.HISTORY if model == Model.HISTORY else 0)
    return replace(fields, coding=coding, offset=offset)


def table_bits(table: Table) -> float:
    """What a table costs, about: under models that have learnt nothing yet."""
    _, gaps, rises = table.sides()
    return Encoder().rate(gaps) + Encoder().rate(rises)


def put(streams: Streams, record: Levels | Mask, fields: Fields) -> tuple[float, float]:
    """Code a record as its fields say; returns the bits of its values, and of its scales and table."""
    if isinstance(record, Mask):
        return (streams.adaptive.mask(record.mask) if fields.kind == Kind.MASK else 0.0), 0.0
    side_bits = 0.0
    for codes, offset in ((record.row_scale, fields.row_offset), (record.col_scale, fields.col_offset)):
        if codes is not None:
            side_bits += streams.adaptive.levels(codes.astype(np.int32) - offset)
    if not fields.elements:
        return 0.0, side_bits
    if Coding.STATIC not in fields.coding:
        return streams.adaptive.levels(_without(record, fields.offset), _model(fields)), side_bits
    table = _table(record)
    _, gaps, rises = table.sides()
    side_bits += streams.adaptive.levels(gaps) + streams.adaptive.levels(rises)
    streams.static.levels(record.levels, table)
    return table.bits(record.levels), side_bits


def take(
    adaptive: Decoder, static: StaticDecoder, name: str, fields: Fields
) -> tuple[Levels, tuple[float, float]]:
    """The next levels of the streams; and where the decoders are priced, the bits of values, and of scales and table.

    Raises:
        Broken: they are not what :func:`put` can have written.
        CodingError: likewise.
    """
    rows, cols = matrix(fields.shape)
    row_scale = col_scale = None
    begun = adaptive.bits
    if Coding.ROW_SCALE in fields.coding:
        row_scale = _scale(adaptive.levels(1, rows)[0], fields.row_offset)
    if Coding.COL_SCALE in fields.coding:
        col_scale = _scale(adaptive.levels(1, cols)[0], fields.col_offset)
    settled = adaptive.bits
    bits = 0.0
    if not fields.elements:
        levels = np.zeros(fields.shape, np.int32)
    elif Coding.STATIC in fields.coding:
        gaps, rises = adaptive.levels(1, fields.alphabet - 1)[0], adaptive.levels(1, fields.alphabet)[0]
        table = Table.from_sides(fields.offset, gaps, rises)
        if int(table.symbols[-1]) > LARGEST:
            raise Broken("a level is too large")
        settled, bits = adaptive.bits, -static.bits
        levels = static.levels(fields.elements, table)
        bits += static.bits
    else:
        levels = adaptive.levels(rows, cols, _model(fields))
        bits = adaptive.bits - settled
        if fields.offset:
            levels += fields.offset
    if levels.size and max(-int(levels.min()), int(levels.max())) > LARGEST:
        raise Broken("a level is too large")
    levels = levels.reshape(fields.shape)
    record = Levels(name, fields.type.name, fields.shape, levels, fields.step, row_scale, col_scale)
    return record, (bits, settled - begun)


def _without(record: Levels, offset: int) -> np.ndarray:
    """The levels less an offset, int32 ``[rows, cols]``."""
    levels = record.levels.reshape(matrix(record.shape))
    return np.subtract(levels, offset, dtype=np.int32) if offset else np.asarray(levels, np.int32)


def _table(record: Levels) -> Table:
    """The table of a record that is said to have one."""
    table = Table.of(record.levels)
    if table is None:
        raise SzilardFileError(f"the levels of {record.name} cannot have a table; mend the record")
    return table


def _model(fields: Fields) -> Model:
    return Model.HISTORY if Coding.HISTORY in fields.coding else Model.NEIGHBOURS


def _scale(codes: np.ndarray, offset: int) -> np.ndarray:
    codes += offset  # which is small; and so are the codes, below 2^23
    if codes.min() < -128 or codes.max() > 127:
        raise Broken("a scale is too large")
    return narrowed(codes, np.dtype(np.int8))


def _median(values: np.ndarray | None) -> int:
    """The lower median, an integer; 0 of nothing."""
    if values is None or not values.size:
        return 0
    flat = values.reshape(-1)
    return int(np.partition(flat, (flat.size - 1) // 2)[(flat.size - 1) // 2])
