"""The integers of a header in LEB128, with bounds on every write and read."""

from __future__ import annotations

from collections.abc import Iterable

from szilard.coding import cursor, leb128
from szilard.file.error import Broken

_MOST_BYTES = 6  # 42 bits: more than any count, length or dimension can need


def varint(value: int) -> bytes:
    """An unsigned integer in LEB128: seven bits in each byte, low bits first; the eighth bit marks that more follow."""
    if not 0 <= value < 1 << 7 * _MOST_BYTES:
        raise ValueError(f"{value} is not an unsigned integer of at most {7 * _MOST_BYTES} bits")
    return leb128.encoded(value)


def zigzag(value: int) -> bytes:
    """A signed integer as the varint of its position in 0, -1, 1, -2, ..."""
    return varint(2 * value if value >= 0 else -2 * value - 1)


def varints(values: Iterable[int]) -> bytes:
    """A column of unsigned integers."""
    return b"".join(map(varint, values))


def zigzags(values: Iterable[int]) -> bytes:
    """A column of signed integers."""
    return b"".join(map(zigzag, values))


class Cursor(cursor.Cursor):
    """A cursor over a part of a file, which raises :class:`Broken`."""

    error = Broken
