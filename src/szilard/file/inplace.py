"""Conversion of large arrays in the same memory, so that two of their size never exist at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from szilard.file.pieces import SOME, fill


def overwrite(array: np.ndarray, pieces: Iterable[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Write pieces that are made from an array into the memory of that array, in order; returns them as a flat array.

    Args:
        array: contiguous and not shared; neither it nor a view of it can be used afterwards.
        pieces: as many entries as the array has; each depends only on the array's entries at its own position.
        dtype: with at most as many bytes as that of the array.
    """
    size = array.size * dtype.itemsize
    buffer = array.reshape(-1).view(np.uint8)[:size].view(dtype)
    fill(buffer, pieces)
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if not size or dtype.itemsize == array.itemsize:
        return buffer
    if not owner.flags.owndata or owner.size != array.size or not owner.flags.c_contiguous:
        return buffer.copy()
    del buffer
    owner.resize(-(-size // owner.itemsize), refcheck=False)
    return owner.view(np.uint8)[:size].view(dtype)


def narrowed(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Convert an array of integers to a smaller type that can hold them all, as :func:`overwrite`."""
    return overwrite(array, _parts(array, dtype), dtype)


def _parts(array: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, SOME):
        yield flat[start : start + SOME].astype(dtype)
