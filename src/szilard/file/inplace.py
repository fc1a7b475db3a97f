"""Large arrays made from others of integers in the same memory, so that two of their size never exist together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from szilard.file.pieces import SOME, fill


def overwrite(array: np.ndarray, pieces: Iterable[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """The entries of some pieces, flat, in the memory of an array that they are made from, first to last.

    Args:
        array: contiguous and nobody else's; neither it nor a view of it may be used afterwards.
        pieces: of as many entries as the array has; each depends on the array's entries of its own place alone.
        dtype: of no more bytes than the array's.
    """
    size = array.size * dtype.itemsize
    room = array.reshape(-1).view(np.uint8)[:size].view(dtype)
    fill(room, pieces)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if not size or dtype.itemsize == array.itemsize:
        return room
    if not owner.flags.owndata or owner.size != array.size or not owner.flags.c_contiguous:
        return room.copy()
    del room
    owner.resize(-(-size // owner.itemsize), refcheck=False)
    return owner.view(np.uint8)[:size].view(dtype)


def narrowed(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """As :func:`overwrite`, an array of integers in a type that can hold them all."""
    return overwrite(array, _parts(array, dtype), dtype)


def _parts(array: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, SOME):
        yield flat[start : start + SOME].astype(dtype)
