"""The order of values from the first row to the last, for fields that are better predicted from one side."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from szilard.codec.grid import NEIGHBOURS, Pass

#: Known when a value is coded: those above reach two columns to the right for each row.
BEFORE = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, -2), (-1, 2), (-2, -1), (-2, 1), (-2, -2), (-2, 2),
    (0, -3), (-3, 0), (-1, -3), (-2, 3), (0, -4), (-2, 4), (-3, 1), (-3, -1),
)  # fmt: skip
PLANE = (1.0, 1.0, -1.0)  #: weights of the first three that continue a plane
_SKEW = 3  # columns by which a row is behind the one above it


_TOGETHER = 1 << 16  # values whose neighbours are found at once


@functools.lru_cache(maxsize=4)
def raster_passes(height: int, width: int) -> tuple[Pass, ...]:
    """The passes of :func:`each_diagonal`, kept for the next slice; 90 bytes for each value."""
    return tuple(each_diagonal(height, width))


def each_diagonal(height: int, width: int) -> Iterator[Pass]:
    """The passes of a slice ``[height, width]`` after its first value: diagonals, whose values are coded at once.

    A neighbour outside the slice is replaced by the nearest inside; one that is not known yet by the value to the left,
    or in the first column by the one above.
    """
    wave = np.arange(width, dtype=np.int32) + _SKEW * np.arange(height, dtype=np.int32)[:, None]
    order = np.argsort(wave.reshape(-1), kind="stable")[1:].astype(np.int32)
    starts = np.flatnonzero(np.diff(wave.reshape(-1)[order], prepend=-1))
    ends = np.append(starts[1:], len(order))[: len(starts)]
    del wave
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _TOGETHER, "right")))
        whole = _pass(height, width, order[starts[first] : ends[last - 1]].astype(np.int64))
        for start, end in zip(starts[first:last].tolist(), ends[first:last].tolist(), strict=True):
            part = whole.of(slice(start - int(starts[first]), end - int(starts[first])))
            yield replace(part, neighbours=np.ascontiguousarray(part.neighbours))
        first = last


def _pass(height: int, width: int, targets: np.ndarray) -> Pass:
    """Targets of several diagonals with their neighbours."""
    row, column = targets // width, targets % width
    fallback = np.where(column > 0, row * width + column - 1, (row - 1) * width + column)
    neighbours = np.empty((NEIGHBOURS, len(targets)), np.int32)
    for n, (down, right) in enumerate(BEFORE):
        i, j = np.clip(row + down, 0, None), np.clip(column + right, 0, width - 1)
        known = j + _SKEW * i < column + _SKEW * row
        neighbours[n] = np.where(known, i * width + j, fallback)
    latitude = (np.abs(2 * row - (height - 1)) * 256 // max(height - 1, 1)).astype(np.int32)
    return Pass(0, 0, targets.astype(np.int32), neighbours, latitude)
