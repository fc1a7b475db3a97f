"""Reading and writing the integers of a header in LEB128, with bounds on every read."""

from __future__ import annotations

from collections.abc import Iterable

from szilard.coding import leb128
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


class Cursor:
    """Reads a byte string from its start.

    Args:
        data: the bytes.
        what: their name in messages, for instance "the table of fields".

    Raises (every method):
        Broken: the bytes end too early, or an integer is above its limit or not in its shortest form.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.at = 0

    def varint(self, limit: int) -> int:
        """An unsigned integer of at most ``limit``."""
        data = self._data
        value = 0
        for place in range(_MOST_BYTES):
            if self.at >= len(data):
                raise Broken(f"{self._what} ends too early")
            byte = data[self.at]
            self.at += 1
            value |= (byte & 127) << 7 * place
            if byte < 128:
                if (place and not byte) or value > limit:
                    break
                return value
        raise Broken(f"{self._what} contains a number that is too large or not in its shortest form")

    def zigzag(self, limit: int) -> int:
        """A signed integer of magnitude at most ``limit``."""
        value = self.varint(2 * limit)
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        if n > len(self._data) - self.at:
            raise Broken(f"{self._what} ends too early")
        self.at += n
        return self._data[self.at - n : self.at]

    def end(self) -> None:
        """Check that no bytes are left over."""
        if self.at != len(self._data):
            raise Broken(f"{self._what} has bytes left over")
