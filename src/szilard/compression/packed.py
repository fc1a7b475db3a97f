"""Matrices of small integers with a few large ones among them, in one byte an entry and a list of the large ones.

One level in a thousand beyond 127 would double the memory of a weight's levels, of which a draft holds all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGE = 1 << 16  # entries; smaller matrices stay as they are
FEW = 32  # of so many entries, at most one is large


@dataclass(frozen=True, eq=False)
class Packed:
    """Integers of any shape.

    Attributes:
        small: int8 of the shape, 0 where an entry is large.
        places: of the large ones in row order, int64.
        large: these, in the type of the whole.
    """

    small: np.ndarray
    places: np.ndarray
    large: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.small.shape

    def wide(self) -> np.ndarray:
        """The integers as they were, in memory of their own."""
        found = self.small.astype(self.large.dtype)
        found.reshape(-1)[self.places] = self.large
        return found


def pack(values: np.ndarray) -> Packed | None:
    """The same integers in less memory; None where that is not so.

    Args:
        values: signed integers of any shape.
    """
    if values.size < LARGE or values.dtype.itemsize < 2:
        return None
    least, most = np.iinfo(np.int8).min, np.iinfo(np.int8).max
    flat = values.reshape(-1)
    beyond = (flat < least) | (flat > most)
    count = int(np.count_nonzero(beyond))
    if count * FEW > flat.size:
        return None
    places = np.flatnonzero(beyond)
    small = flat.astype(np.int8)  # wraps what is large
    small[places] = 0
    return Packed(small.reshape(values.shape), places, flat[places])
