"""Reading the numbers of a stream, with a bound on every read."""

from __future__ import annotations

from szilard.coding import CodingError


class Reader:
    """Reads bytes from their start to ``end``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at, self.end = 0, len(data)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.end - self.at:
            raise CodingError("the field is cut off")
        self.at += count
        return self._data[self.at - count : self.at]

    def varint(self, limit: int) -> int:
        """An unsigned integer of at most ``limit``."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            if shift > 56:
                raise CodingError("a number in the field is too large; the file is damaged")
        if value > limit:
            raise CodingError("a number in the field is too large; the file is damaged")
        return value

    def left(self) -> int:
        """Bytes that were not read."""
        return self.end - self.at
