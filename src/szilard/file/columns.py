"""The table of fields in columns, which deflate better than rows: those of all records, then those of each kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

from szilard.file import deflate, dtypes, steps
from szilard.file.cursor import Cursor, varints, zigzags
from szilard.file.error import Broken
from szilard.file.fields import Fields, Row, SteppedFields
from szilard.file.kinds import KINDS, WIDE, number
from szilard.file.limits import MOST_DIMENSIONS, MOST_ELEMENTS, MOST_KIND

_MOST_BYTES = 128  # of one record's fields
_WHAT = "the table of fields"
_Line = tuple[type[Fields], Row]


def wide(table: Sequence[Fields]) -> bool:
    """Whether a kind needs more than three bits and the file the flag :data:`szilard.file.sections.WIDE`."""
    return any(number(type(fields)) >= WIDE for fields in table)


def pack(table: Sequence[Fields]) -> bytes:
    """The block of fields."""
    kinds = [number(type(fields)) for fields in table]
    types = [0 if fields.dtype is None else fields.dtype.code for fields in table]
    if wide(table):
        heads = varints(kinds) + bytes(types)
    else:
        heads = bytes(kind << 5 | code for kind, code in zip(kinds, types, strict=True))
    codes = [fields.step for fields in table if isinstance(fields, SteppedFields)]
    columns = [
        heads,
        varints(len(fields.shape) for fields in table if fields.dimensions is None),
        varints(size for fields in table for size in fields.shape),
        zigzags(after - before for before, after in zip([0, *codes], codes, strict=False)),
        *(kind.put_columns([fields for fields in table if type(fields) is kind]) for kind in KINDS.values()),
    ]
    return deflate.compress(b"".join(columns))


def unpack(block: bytes, count: int, *, wide: bool = False) -> list[Fields]:
    """The fields of ``count`` records.

    Args:
        wide: the file has the flag for kinds that do not fit into three bits.

    Raises:
        Broken: :func:`pack` cannot have written them.
    """
    cursor = Cursor(deflate.expand(block, _MOST_BYTES * count, _WHAT), _WHAT)
    lines = [_line(kind, code) for kind, code in (_wide_heads if wide else _heads)(cursor, count)]
    dimensions = [
        cursor.varint(MOST_DIMENSIONS) if kind.dimensions is None else kind.dimensions for kind, _ in lines
    ]
    for (_, row), ndim in zip(lines, dimensions, strict=True):
        row["shape"] = tuple(cursor.varint(MOST_ELEMENTS) for _ in range(ndim))
    step = 0
    for kind, row in lines:
        if issubclass(kind, SteppedFields):
            step += cursor.zigzag(steps.HIGHEST - steps.LOWEST)
            row["step"] = step
    for kind in KINDS.values():
        kind.take_columns([row for one, row in lines if one is kind], cursor)
    cursor.end()
    table = [kind(**row) for kind, row in lines]
    for fields in table:
        _check(fields)
    return table


def _heads(cursor: Cursor, count: int) -> list[tuple[int, int]]:
    """Numbers of kinds and types, both in one byte."""
    return [(byte >> 5, byte & 31) for byte in cursor.take(count)]


def _wide_heads(cursor: Cursor, count: int) -> list[tuple[int, int]]:
    """As :func:`_heads`, in one column each."""
    kinds = [cursor.varint(MOST_KIND) for _ in range(count)]
    if all(kind < WIDE for kind in kinds):
        raise Broken("it has the flag for wide kinds of records, and has none")
    return list(zip(kinds, cursor.take(count), strict=True))


def _line(kind: int, code: int) -> _Line:
    if kind not in KINDS:
        raise Broken(
            "it contains a kind of record that this version of szilard does not know; update szilard to read it"
        )
    if not KINDS[kind].typed:
        if code:
            raise Broken("the table of fields gives a type to a record that has none")
        return KINDS[kind], {}
    if code >= len(dtypes.TYPES):
        raise Broken("it contains a type of tensor that this version of szilard does not know")
    return KINDS[kind], {"dtype": dtypes.TYPES[code]}


def _check(fields: Fields) -> None:
    if math.prod(max(size, 1) for size in fields.shape) > MOST_ELEMENTS:
        raise Broken("a tensor is larger than the format allows")
    if isinstance(fields, SteppedFields):
        if not fields.type.holds_levels:
            raise Broken("a tensor of levels has a type that cannot have levels")
        if not steps.LOWEST <= fields.step <= steps.HIGHEST:
            raise Broken("a step is outside the range of float32")
    fields.check()
