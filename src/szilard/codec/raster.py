"""The order of values from the first row to the last, for fields that are better predicted from one side."""

from __future__ import annotations

import functools

import numpy as np

from szilard.codec.grid import NEIGHBOURS, Pass

#: Known when a value is coded: those above reach two columns to the right for each row.
BEFORE = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1), (-2, -2), (-2, 2),
    (0, -3), (-3, 0), (-1, -3), (-2, 3), (0, -4), (-2, 4), (-3, 1), (-3, -1),
)  # fmt: skip
PLANE = (1.0, 1.0, -1.0)  #: weights of the first three that continue a plane
_SKEW = 3  # columns by which a row is behind the one above it


@functools.lru_cache(maxsize=4)
def raster_passes(height: int, width: int) -> tuple[Pass, ...]:
    """The passes of a slice ``[height, width]`` after its first value: diagonals, whose values are coded at once.

    A neighbour outside the slice is replaced by the nearest inside; one that is not known yet by the value to the left,
    or in the first column by the one above.
    """
    row, column = (np.ravel(grid) for grid in np.indices((height, width)))
    wave = column + _SKEW * row
    order = np.argsort(wave, kind="stable")[1:]
    starts = np.flatnonzero(np.diff(wave[order], prepend=-1))
    row, column = row[order], column[order]
    fallback = np.where(column > 0, row * width + column - 1, (row - 1) * width + column)
    neighbours = np.empty((NEIGHBOURS, len(order)), np.int32)
    for n, (down, right) in enumerate(BEFORE):
        i, j = np.clip(row + down, 0, None), np.clip(column + right, 0, width - 1)
        known = j + _SKEW * i < column + _SKEW * row
        neighbours[n] = np.where(known, i * width + j, fallback)
    latitude = (np.abs(2 * row - (height - 1)) * 256 // max(height - 1, 1)).astype(np.int32)
    ends = [*starts[1:].tolist(), len(order)][: len(starts)]
    return tuple(
        Pass(
            0,
            0,
            order[start:end].astype(np.int32),
            np.ascontiguousarray(neighbours[:, start:end]),
            latitude[start:end],
        )
        for start, end in zip(starts.tolist(), ends, strict=True)
    )
