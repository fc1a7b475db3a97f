"""Raw deflate (RFC 1951) with a bound on the output size."""

from __future__ import annotations

import zlib

from szilard.file.error import Broken

#: A deflate stream expands by at most this factor.
MOST_GROWTH = 1032

_FED = 1 << 16  # bytes at a time
_FEW = 1 << 12
_MANY = 1 << 20  # bytes, above which the most thorough search would take seconds


def compress(data: bytes, dictionary: bytes = b"") -> bytes:
    """The shortest of three encodings: repetitions with dynamic codes or with fixed codes, or no repetitions.

    Fixed codes suit short data, and the planes of random floats have no repetitions.
    """
    level = 9 if len(data) < _MANY else 6
    preset = (dictionary,) if dictionary else ()
    candidates = []
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY):
        if strategy == zlib.Z_FIXED and len(data) > _FEW:
            continue
        coder = zlib.compressobj(level, zlib.DEFLATED, -15, 9, strategy, *preset)
        candidates.append(coder.compress(data) + coder.flush())
    return min(candidates, key=len)


def expand(data: bytes, most: int, what: str, dictionary: bytes = b"") -> bytes:
    """Undo :func:`compress`.

    Args:
        most: bound on the bytes of output; no more are ever made.
        what: the data's name in messages.

    Raises:
        Broken: it is not a deflate stream, is incomplete, has bytes after its end, or expands to more than ``most``.
    """
    inflater = Inflater(data, what, dictionary)
    found = inflater.take(most)
    inflater.end()
    return found


class Inflater:
    """Expands a deflate stream piece by piece.

    Args:
        data, what, dictionary: as in :func:`expand`.
    """

    def __init__(self, data: bytes | memoryview, what: str, dictionary: bytes = b"") -> None:
        self._coder = zlib.decompressobj(-15, zdict=dictionary) if dictionary else zlib.decompressobj(-15)
        self._data = memoryview(data)
        self._at = 0
        self._tail = b""  # input that zlib has not consumed yet
        self._what = what

    def take(self, most: int) -> bytes:
        """The next bytes, ``most`` of them or as many as there are.

        Raises:
            Broken: it is not a deflate stream.
        """
        found: list[bytes] = []
        while most:  # zlib takes a bound of 0 as no bound
            given = self._tail or self._feed()
            try:
                piece = self._coder.decompress(given, most)
            except zlib.error as error:
                raise Broken(f"{self._what} cannot be inflated") from error
            self._tail = self._coder.unconsumed_tail
            most -= len(piece)
            if piece:
                found.append(piece)
            elif not given:
                break
            if self._coder.eof:  # zlib would take the bytes after the end without giving output
                self._tail = b""
                break
        return found[0] if len(found) == 1 else b"".join(found)

    def end(self) -> None:
        """Check that the stream has been read to its end.

        Raises:
            Broken: the stream has more output, is incomplete or has bytes after its end.
        """
        if self.take(1):
            raise Broken(f"{self._what} has too many bytes")
        if not self._coder.eof or self._coder.unused_data or self._at < len(self._data):
            raise Broken(f"{self._what} is not one whole deflate stream")

    def _feed(self) -> memoryview:
        """The next input for zlib, in small parts, because zlib copies what it does not consume."""
        if self._coder.eof:
            return self._data[:0]
        self._at += _FED
        return self._data[self._at - _FED : self._at]
