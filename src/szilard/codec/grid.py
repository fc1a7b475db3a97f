"""The order in which the values of a slice are coded, from coarse to fine, and which known values surround each."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

CENTRE = (
    (-1, -1), (-1, 1), (1, -1), (1, 1), (-1, -3), (-1, 3), (1, -3), (1, 3),
    (-3, -1), (-3, 1), (3, -1), (3, 1), (-3, -3), (-3, 3), (3, -3), (3, 3),
)  # fmt: skip
EDGE = (
    (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -2), (-1, 2), (1, -2), (1, 2),
    (-2, -1), (-2, 1), (2, -1), (2, 1), (-3, 0), (3, 0), (0, -3), (0, 3),
)  # fmt: skip
SECOND_EDGE = (*EDGE, (-1, -1), (-1, 1), (1, -1), (1, 1))
OFFSETS = (CENTRE, EDGE, SECOND_EDGE)
NEIGHBOURS = len(SECOND_EDGE)
MOST_LEVELS = 6


@dataclass(frozen=True, eq=False)
class Pass:
    """Values that are coded at once: their neighbours are known.

    Attributes:
        level: log2 of the distance to the nearest neighbours.
        kind: 0: centres of squares; 1: midpoints of the edges along rows; 2: along columns, which know those of 1.
        targets: places in the flattened slice, int32 ``[M]``.
        neighbours: places of the known values, int32 ``[n, M]``, the four nearest first.
        latitude: distance of each row from the middle one, 0 to 256, int32 ``[M]``.
    """

    level: int
    kind: int
    targets: np.ndarray
    neighbours: np.ndarray
    latitude: np.ndarray

    def of(self, chosen: np.ndarray | slice) -> Pass:
        """The same pass with some of its targets."""
        return replace(
            self,
            targets=self.targets[chosen],
            neighbours=self.neighbours[:, chosen],
            latitude=self.latitude[chosen],
        )


def levels_for(height: int, width: int) -> int:
    """The usual number of halvings for a slice: about eight values remain along its longer side."""
    return min(MOST_LEVELS - 1, max(0, max(height, width).bit_length() - 4))


@functools.lru_cache(maxsize=4)
def passes(height: int, width: int, levels: int, periodic: bool) -> tuple[Pass, ...]:
    """The passes of :func:`each_pass`, kept for the next slice; 80 bytes for each value."""
    return tuple(each_pass(height, width, levels, periodic))


def each_pass(height: int, width: int, levels: int, periodic: bool) -> Iterator[Pass]:
    """The passes of a slice ``[height, width]`` after its grid of stride 2^levels.

    A neighbour beyond an edge is replaced by the one on the other side of the target, or by the value of the coarser
    grid above and to the left of the target. With ``periodic`` columns go around, if the stride divides the width.
    """
    around = periodic and width % (1 << levels) == 0
    for level in range(levels - 1, -1, -1):
        h = 1 << level
        for kind, (first_row, first_column) in enumerate(((h, h), (0, h), (h, 0))):
            rows = np.arange(first_row, height, 2 * h)
            columns = np.arange(first_column, width, 2 * h)
            if not (len(rows) and len(columns)):
                continue
            row, column = (np.ravel(grid) for grid in np.meshgrid(rows, columns, indexing="ij"))
            neighbours = np.empty((len(OFFSETS[kind]), len(row)), np.int32)
            fallback = (row & ~(2 * h - 1)) * width + (column & ~(2 * h - 1))
            for n, (down, right) in enumerate(OFFSETS[kind]):
                i, no_row = _within(row, down * h, height)
                j, no_column = (
                    ((column + right * h) % width, False) if around else _within(column, right * h, width)
                )
                neighbours[n] = np.where(no_row | no_column, fallback, i * width + j)
            latitude = np.abs(2 * row - (height - 1)) * 256 // max(height - 1, 1)
            targets = (row * width + column).astype(np.int32)
            yield Pass(level, kind, targets, neighbours, latitude.astype(np.int32))


def _within(place: np.ndarray, step: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """``place + step``, or ``place - step`` where that is outside; and where both are."""
    there = place + step
    there = np.where((there < 0) | (there >= length), place - step, there)
    return there, (there < 0) | (there >= length)
