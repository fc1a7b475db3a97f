"""Exact bytes of tensors that are not quantised."""

from __future__ import annotations

import numpy as np

from szilard.file import deflate
from szilard.file.error import Broken


def pack(data: bytes, size: int) -> bytes:
    """The planes of entries of ``size`` bytes, deflated: exponents of floats are alike, their last digits are not."""
    return deflate.compress(_transpose(data, (-1, size)))


def unpack(block: bytes, length: int, size: int) -> bytes:
    """Undo :func:`pack` for a tensor of ``length`` bytes.

    Raises:
        Broken: there are not that many.
    """
    if length > deflate.MOST_GROWTH * len(block):
        raise Broken("a tensor has a larger shape than its part of the file can hold")
    planes = deflate.expand(block, length, "a tensor")
    if len(planes) != length:
        raise Broken("a tensor holds fewer bytes than its shape says")
    return _transpose(planes, (size, -1))


def _transpose(data: bytes, shape: tuple[int, int]) -> bytes:
    return np.frombuffer(data, np.uint8).reshape(shape).T.tobytes()
