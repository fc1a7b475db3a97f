"""Reading bytes from their start, with a bound on every read."""

from __future__ import annotations

from szilard.coding.errors import CodingError


class Cursor:
    """Reads a byte string from its start.

    Args:
        data: the bytes.
        what: their name in messages, for instance "the table of fields".

    Raises (every method):
        CodingError: the bytes end too early, or an integer is above its limit or not in its shortest form. A subclass
            names another exception.
    """

    error: type[Exception] = CodingError

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.at = 0

    def varint(self, limit: int) -> int:
        """An unsigned integer of at most ``limit``, in LEB128."""
        data = self._data
        value = 0
        for place in range(-(-max(limit, 1).bit_length() // 7)):
            if self.at >= len(data):
                raise self.error(f"{self._what} ends too early")
            byte = data[self.at]
            self.at += 1
            value |= (byte & 127) << 7 * place
            if byte < 128:
                if (place and not byte) or value > limit:
                    break
                return value
        raise self.error(f"{self._what} contains a number that is too large or not in its shortest form")

    def zigzag(self, limit: int) -> int:
        """A signed integer of magnitude at most ``limit``."""
        value = self.varint(2 * limit)
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        if n > len(self._data) - self.at:
            raise self.error(f"{self._what} ends too early")
        self.at += n
        return self._data[self.at - n : self.at]

    def left(self) -> int:
        """Bytes that were not read."""
        return len(self._data) - self.at

    def end(self) -> None:
        """Check that no bytes are left over."""
        if self.left():
            raise self.error(f"{self._what} has bytes left over")
