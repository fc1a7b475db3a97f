"""Reads numbers, text and deflated parts of a .szd file, written from docs/format.md."""

from __future__ import annotations

import zlib

from szd_streams import Refused, need


class Bytes:
    """A cursor over bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        need(self.at + n <= len(self.data), "a part ends too early")
        self.at += n
        return self.data[self.at - n : self.at]

    def varint(self, least: int = 0, most: int = 2**42 - 1) -> int:
        value = 0
        for place in range(6):
            byte = self.take(1)[0]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                need(byte or not place, "a varint is not in its shortest form")
                need(least <= value <= most, "a number is beyond its limits")
                return value
        raise Refused("a varint is longer than 6 bytes")

    def zigzag(self, most: int) -> int:
        n = self.varint()
        value = -(n + 1) // 2 if n % 2 else n // 2
        need(abs(value) <= most, "a number is beyond its limits")
        return value

    def end(self) -> None:
        need(self.at == len(self.data), "a part has bytes left over")


def inflate(data: bytes, most: int, dictionary: bytes = b"") -> bytes:
    """One whole raw deflate stream of at most so many bytes."""
    coder = zlib.decompressobj(-15, zdict=dictionary)
    try:
        found = coder.decompress(data, most + 1)
    except zlib.error as error:
        raise Refused("a deflate stream is none") from error
    need(len(found) <= most, "a deflate stream holds more than it may")
    need(coder.eof and not coder.unused_data, "a deflate stream is not one whole one")
    return found
