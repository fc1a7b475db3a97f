"""Exact bytes of tensors that are not quantised."""

from __future__ import annotations

import numpy as np

from szilard.file import deflate
from szilard.file.error import Broken
from szilard.file.source import PIECE


def pack(data: bytes, size: int) -> bytes:
    """The planes of entries of ``size`` bytes, deflated: exponents of floats are alike, their last digits are not."""
    return deflate.compress(np.frombuffer(data, np.uint8).reshape(-1, size).T.tobytes())


def unpack(block: bytes | memoryview, count: int, size: int) -> np.ndarray:
    """Undo :func:`pack` for a tensor of ``count`` entries, uint8 ``[count, size]``; piece by piece of each plane.

    Raises:
        Broken: there are not that many.
    """
    if count * size > deflate.MOST_GROWTH * len(block):
        raise Broken("a tensor has a larger shape than its part of the file can hold")
    inflater = deflate.Inflater(block, "a tensor")
    entries = np.empty((count, size), np.uint8)
    for place in range(size):
        for start in range(0, count, PIECE):
            room = entries[start : start + PIECE, place]
            piece = inflater.take(len(room))
            if len(piece) != len(room):
                raise Broken("a tensor holds fewer bytes than its shape says")
            room[:] = np.frombuffer(piece, np.uint8)
    inflater.end()
    return entries
