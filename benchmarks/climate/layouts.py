"""How the slices of an array are divided among streams and stacked, for codecs of two to four dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """An arrangement of the leading axes of ``[.., rows, columns]``.

    Attributes:
        outer: leading axes whose places have streams of their own.
        inner: leading axes that are stacked, the slowest first.
        split: how many of ``inner`` are the first of two axes of a four-dimensional stack; 0: one axis.
    """

    outer: tuple[int, ...]
    inner: tuple[int, ...]
    split: int = 0

    @property
    def ndim(self) -> int:
        """Dimensions of what a stream holds."""
        return 2 + bool(self.inner) + bool(self.split)

    def name(self, names: tuple[str, ...]) -> str:
        """For tables, from the names of the axes."""
        if not self.inner:
            return "2-D slices"
        groups = [self.inner[: self.split], self.inner[self.split :]] if self.split else [self.inner]
        return f"{self.ndim}-D, " + " by ".join(
            " and ".join(names[axis] for axis in group) for group in groups
        )

    def arranged(self, array: np.ndarray) -> np.ndarray:
        """What the streams hold, ``[streams, .., rows, columns]``."""
        lengths = [array.shape[axis] for axis in self.inner]
        groups = (
            [lengths[: self.split], lengths[self.split :]] if self.split else [lengths] * bool(self.inner)
        )
        height, width = array.shape[-2:]
        moved = array.transpose(*self.outer, *self.inner, array.ndim - 2, array.ndim - 1)
        return np.ascontiguousarray(moved.reshape(-1, *map(math.prod, groups), height, width))

    def restored(self, parts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undo :meth:`arranged`."""
        order = (*self.outer, *self.inner, len(shape) - 2, len(shape) - 1)
        moved = parts.reshape([shape[axis] for axis in order])
        return np.ascontiguousarray(moved.transpose(np.argsort(order)))


def layouts(leading: int, most: int = 4) -> Iterator[Layout]:
    """Every arrangement with at most ``most`` dimensions; the first has a stream for each slice."""
    for size in range(leading + 1):
        for inner in itertools.permutations(range(leading), size):
            outer = tuple(axis for axis in range(leading) if axis not in inner)
            for split in range(size if most > 3 else min(size, 1)):
                yield Layout(outer, inner, split)
            if not size:
                yield Layout(outer, inner)
