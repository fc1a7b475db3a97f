"""The bytes of a file, in memory or on disk, read in parts."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from szilard.file.error import Broken

PIECE = 1 << 18  #: bytes that are read or worked on at a time


class Source:
    """Bytes in memory, which are returned without a copy.

    Args:
        data: the bytes; they must not change.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)

    def __len__(self) -> int:
        return len(self._data)

    def take(self, start: int, stop: int) -> bytes | memoryview:
        """The bytes from ``start`` to ``stop``, which must be in range."""
        return self._data[start:stop]

    def part(self, start: int, stop: int) -> Source:
        """The bytes from ``start`` to ``stop`` as a new source."""
        return Source(self._data[start:stop])

    def into(self, start: int, buffer: np.ndarray) -> None:
        """Fill ``buffer``, contiguous bytes, from ``start`` on."""
        for at in range(0, len(buffer), PIECE):
            piece = buffer[at : at + PIECE]
            piece[:] = np.frombuffer(self.take(start + at, start + at + len(piece)), np.uint8)


class FileSource(Source):
    """Bytes of an open file, read on access.

    Args:
        file: opened for reading, without a buffer; it must stay open.
        start, stop: range of its bytes.
    """

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._start, self._stop = start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def take(self, start: int, stop: int) -> bytes:
        """As :meth:`Source.take`.

        Raises:
            Broken: the file has become shorter since it was opened.
        """
        self._file.seek(self._start + start)
        pieces = []
        left = stop - start
        while left:
            piece = self._file.read(left)
            if not piece:
                raise Broken("it was cut short while it was read")
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def part(self, start: int, stop: int) -> Source:
        """As :meth:`Source.part`."""
        return FileSource(self._file, self._start + start, self._start + stop)
