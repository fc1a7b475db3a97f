"""A bound for each value: wider bins where a map allows them, on the lattice of the least bound."""

from __future__ import annotations

import functools
import math

import numpy as np

from szilard.codec.layout import Layout
from szilard.codec.network import STEP
from szilard.coding import CodingError, Decoder, Encoder

PER_OCTAVE = 4
MOST = 20 * PER_OCTAVE  #: the widest bin is 2^20 times the narrowest
_SIDES = 5  # log2 of the side of the blocks that share a width: 0 to 4


@functools.cache
def steps() -> np.ndarray:
    """Width of a bin by its exponent ``k``, int64 ``[MOST + 1]``: the largest odd one below twice 2^(k/4) bounds."""
    half = (STEP + 1) // 2
    return np.array([2 * math.isqrt(math.isqrt(half**4 << k)) - 1 for k in range(MOST + 1)], np.int64)


def exponents(bounds: np.ndarray, least: float) -> np.ndarray:
    """The exponents of bounds ``[N]`` on the lattice of the least one, int64 from 0 to ``MOST``."""
    with np.errstate(over="ignore"):
        ratio = bounds.astype(np.float64) / least
    ratio = np.where(ratio >= 1, ratio, 1.0)  # also where there is no bound
    return np.clip(np.floor(PER_OCTAVE * np.log2(ratio)), 0, MOST).astype(np.int64)


def encode(fine: np.ndarray, coded: np.ndarray, layout: Layout) -> tuple[bytes, np.ndarray]:
    """Exponents as bytes, in blocks: of all sides that with the fewest bits, those of the narrower bins included.

    Args:
        fine: exponents ``[slices, rows · columns]``.
        coded: which values have bins, of the same shape.
        layout: of the array.

    Returns:
        the bytes, and the exponents that the decoder will have; none is larger than given.
    """
    best: tuple[float, bytes, np.ndarray] | None = None
    for side in range(_SIDES):
        blocks = _least(np.where(coded, fine, MOST + 1), side, layout)
        found = _spread(blocks, side, layout)
        lost = float((fine - found)[coded].sum()) / PER_OCTAVE
        for axis in range(max(len(layout.shape) - 1, 1)):
            if axis and layout.shape[axis - 1] < 2:
                continue
            coder = Encoder()
            coder.levels(_changes(blocks, axis, layout).reshape(-1, blocks.shape[-1]).astype(np.int32))
            data = bytes([side, axis]) + coder.finish()
            if best is None or 8 * len(data) + lost < best[0]:
                best = 8 * len(data) + lost, data, found
    assert best is not None
    return best[1], best[2]


def decode(data: bytes, layout: Layout) -> np.ndarray:
    """Undo :func:`encode`: ``[slices, rows · columns]``."""
    height, width = layout.slice_shape
    if len(data) < 2 or data[0] >= _SIDES or data[1] >= max(len(layout.shape) - 1, 1):
        raise CodingError("the map of bounds of the field is damaged")
    side, axis = data[0], data[1]
    rows, columns = -(-height >> side), -(-width >> side)
    coder = Decoder(data[2:])
    changes = coder.levels(layout.count * rows, columns).astype(np.int64)
    coder.finish()
    blocks = _sums(changes.reshape(layout.count, rows, columns), axis, layout)
    if blocks.size and not 0 <= blocks.min() <= blocks.max() <= MOST:
        raise CodingError("the map of bounds of the field is damaged")
    return _spread(blocks, side, layout)


def _least(fine: np.ndarray, side: int, layout: Layout) -> np.ndarray:
    """The least exponent of each block, ``[slices, rows, columns]``; without a coded value that of the one before."""
    height, width = layout.slice_shape
    whole = fine.reshape(layout.count, height, width)
    for axis, length in ((1, height), (2, width)):
        whole = np.minimum.reduceat(whole, np.arange(0, length, 1 << side), axis)
    flat = whole.reshape(layout.count, -1)
    place = np.maximum.accumulate(np.where(flat <= MOST, np.arange(flat.shape[1]), 0), axis=1)
    flat = np.take_along_axis(np.where(flat <= MOST, flat, 0), place, axis=1)
    return flat.reshape(whole.shape)


def _spread(blocks: np.ndarray, side: int, layout: Layout) -> np.ndarray:
    height, width = layout.slice_shape
    whole = blocks.take(np.arange(height) >> side, 1).take(np.arange(width) >> side, 2)
    return whole.reshape(layout.count, -1)


def _changes(blocks: np.ndarray, axis: int, layout: Layout) -> np.ndarray:
    """Differences along the columns, or from the slice before along leading axis ``axis`` - 1."""
    along = np.diff(blocks, axis=2, prepend=0)
    along[:, 1:, 0] = np.diff(blocks[:, :, 0], axis=1)
    if not axis:
        return along
    grid, found = (one.reshape(*layout.shape[:-2], *blocks.shape[1:]) for one in (blocks, along))
    later = (slice(None),) * (axis - 1) + (slice(1, None),)
    found[later] = np.diff(grid, axis=axis - 1)
    return along


def _sums(changes: np.ndarray, axis: int, layout: Layout) -> np.ndarray:
    """Undo :func:`_changes`."""
    grid = changes.reshape(*layout.shape[:-2], *changes.shape[1:])
    first = grid[(slice(None),) * (axis - 1) + (slice(0, 1),)] if axis else grid
    along = first.copy()
    along[..., 0] = along[..., 0].cumsum(-1)
    along = along.cumsum(-1)
    if axis:
        rest = grid[(slice(None),) * (axis - 1) + (slice(1, None),)]
        along = np.concatenate([along, rest], axis=axis - 1).cumsum(axis - 1)
    return np.ascontiguousarray(along).reshape(changes.shape)
