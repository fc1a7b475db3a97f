"""How an array is coded: its slices, their passes, and which slices predict which."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from szilard.codec.features import PREVIOUS
from szilard.codec.grid import Pass, each_pass, passes
from szilard.codec.raster import each_diagonal, raster_passes

_KEPT = 1 << 20  # values of a slice whose passes are kept from one array to the next
_LEAST_SIDE = 16  # of a slice that has passes
_LEAST_DIAGONAL = 8  # mean number of values, also of another pass


@dataclass(frozen=True)
class Layout:
    """How an array is coded.

    Attributes:
        shape: of the array, one to five dimensions; the last two are a slice.
        levels: halvings of a slice.
        periodic: whether the last axis goes around.
        axes: leading axes along which the slice before predicts a slice; at most ``PREVIOUS``.
        raster: from the first row to the last instead of from coarse to fine; ``levels`` is then 0.
    """

    shape: tuple[int, ...]
    levels: int
    periodic: bool
    axes: tuple[int, ...] = ()
    raster: bool = False

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return (1, self.shape[0]) if len(self.shape) == 1 else self.shape[-2:]  # type: ignore[return-value]

    @property
    def count(self) -> int:
        """Number of slices."""
        return int(np.prod(self.shape[:-2], dtype=np.int64)) if len(self.shape) > 2 else 1

    @property
    def levels_used(self) -> int:
        """Levels whose linear parts the network uses."""
        return 1 if self.raster else self.levels

    def has_few_passes(self) -> bool:
        """Whether the passes of a slice have as many values on average as diagonals must have."""
        height, width = self.slice_shape
        if self.raster:
            return self.has_diagonals()
        halves = [1 << level for level in range(self.levels)]
        count = sum((3 if min(height, width) > half else int(max(height, width) > half)) for half in halves)
        return height * width >= _LEAST_DIAGONAL * count

    def has_diagonals(self) -> bool:
        """Whether the diagonals of a slice have enough values to code them in order of rows."""
        height, width = self.slice_shape
        return height * width >= _LEAST_DIAGONAL * (width + 3 * height)

    def earlier(self, number: int) -> tuple[int, ...]:
        """Earlier slices that a slice uses: the one before it along each of ``axes``."""
        found = []
        for axis in self.axes:
            stride = math.prod(self.shape[axis + 1 : -2])
            if number // stride % self.shape[axis]:
                found.append(number - stride)
        return tuple(found)

    def along(self, points: np.ndarray) -> Layout:
        """The layout whose axes are those along which a lattice changes least."""
        grid = points.reshape(*self.shape[:-2], -1)
        changes = [
            (float(np.abs(np.diff(grid, axis=axis)).mean()), axis)
            for axis in range(len(self.shape) - 2)
            if self.shape[axis] > 1
        ]
        return replace(self, axes=tuple(axis for _, axis in sorted(changes)[:PREVIOUS]))

    def place(self, number: int) -> int:
        """Of a slice along the last leading axis, 0 to 256."""
        length = self.shape[-3] if len(self.shape) > 2 else 1
        return number % length * 256 // max(length - 1, 1)

    def steps(self) -> Iterable[Pass]:
        """The passes of a slice; those of a single large one are listed as they are needed, and not kept."""
        found: Iterable[Pass]
        small = math.prod(self.slice_shape) <= _KEPT
        if self.raster:
            found = (raster_passes if small else each_diagonal)(*self.slice_shape)
        else:
            found = (passes if small else each_pass)(*self.slice_shape, self.levels, self.periodic)
        return found if small or self.count == 1 else tuple(found)

    def coarse(self) -> np.ndarray:
        """Places of the coarsest grid in a slice, row by row, ``[rows, columns]``; the first value of a raster."""
        height, width = self.slice_shape
        if self.raster:
            return np.zeros((min(height, 1), min(width, 1)), np.int64)
        stride = 1 << self.levels
        return np.arange(0, height, stride)[:, None] * width + np.arange(0, width, stride)


def turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The order in which the axes of an array are coded: as they are, or the two longest last if those are short.

    Slices need an axis of 16 values or more, between which others are predicted.
    """
    axes = tuple(range(len(shape)))
    if len(shape) < 3 or max(shape[-2:]) >= _LEAST_SIDE or max(shape) < _LEAST_SIDE:
        return axes
    longest = sorted(sorted(axes, key=lambda axis: (shape[axis], axis))[-2:])
    return (*(axis for axis in axes if axis not in longest), *longest)
