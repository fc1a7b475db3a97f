"""The values of a variable that its weights are fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array as da
import numpy as np
import xarray as xr

from szilard.fields import calls

MOST = 2_000_000  #: values of a sample
_BLOCKS = 4


def sample(
    variable: xr.Variable, laid: da.Array | None, chunks: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Parts of chunks, spread over a variable, along a new leading axis.

    A part has the last axes of a chunk and as many neighbours along leading axes as fit.

    Args:
        variable: to be coded.
        laid: its map of bounds, of the same shape; None: one bound for all values.
        chunks: shape of its chunks.

    Returns:
        at most ``MOST`` values, and the map of their bounds.
    """
    shape, count = part(variable.shape, chunks)
    slots = [max(1, size // length) for size, length in zip(variable.shape, shape, strict=True)]
    count = min(count, int(np.prod(slots)))
    parts, maps = [], []
    for number in range(count):
        slot = np.unravel_index(round((number + 0.5) / count * int(np.prod(slots)) - 0.5), slots)
        place = tuple(
            slice(int(at) * length, int(at) * length + length) for at, length in zip(slot, shape, strict=True)
        )
        parts.append(np.asarray(variable[place].values))
        if laid is not None:
            maps.append(np.asarray(laid[place].compute(scheduler="synchronous")))
    return _joined(parts), _joined(maps) if maps else None


def part(shape: Sequence[int], chunks: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Shape of a part, and how many there are: four of at least three slices, or fewer if slices are large."""
    found = [min(length, size) for length, size in zip(chunks, shape, strict=True)]
    count = _BLOCKS
    slices = int(np.prod(found[:-2], dtype=np.int64))
    area = int(np.prod(found[-2:], dtype=np.int64))
    while count > 1 and min(3, slices) * area > MOST // count:
        count //= 2
    most = MOST // count
    for axis in range(len(found) - 2):
        rest = int(np.prod(found[axis + 1 :], dtype=np.int64))
        # The last leading axis keeps two slices, of which rows are cut off if they are too large.
        least = min(2, found[axis]) if axis == len(found) - 3 else 1
        found[axis] = max(least, min(found[axis], most // rest))
    others = int(np.prod(found[:-2], dtype=np.int64))
    if len(found) > 1:
        found[-2] = max(1, min(found[-2], most // (others * found[-1])))
    found[-1] = max(1, min(found[-1], most // (others * (found[-2] if len(found) > 1 else 1))))
    return tuple(found), count


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    if len(parts) == 1:
        return parts[0].reshape(calls.folded(parts[0].shape))
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    whole = np.stack(parts)
    return whole.reshape(calls.folded(whole.shape))
