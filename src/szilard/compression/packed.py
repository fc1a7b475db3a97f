"""Matrices of small integers with a few large ones, stored as one byte per entry and a list of the large ones.

Otherwise one level in a thousand above 127 would double the memory of a weight's levels, and a draft keeps the levels
of all weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGE = 1 << 16  # entries; smaller matrices are not packed
FEW = 32  # at most one of this many entries is large


@dataclass(frozen=True, eq=False)
class Packed:
    """Integers of any shape.

    Attributes:
        small: int8 of the shape, 0 for entries that are large.
        places: of the large entries in row order, int64.
        large: the large entries, in the original type.
    """

    small: np.ndarray
    places: np.ndarray
    large: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.small.shape

    def wide(self) -> np.ndarray:
        """The original integers, as a new array."""
        found = self.small.astype(self.large.dtype)
        found.reshape(-1)[self.places] = self.large
        return found


def pack(values: np.ndarray) -> Packed | None:
    """The same integers in less memory; None if packing does not save memory.

    Args:
        values: signed integers of any shape.
    """
    if values.size < LARGE or values.dtype.itemsize < 2:
        return None
    least, most = np.iinfo(np.int8).min, np.iinfo(np.int8).max
    flat = values.reshape(-1)
    is_large = (flat < least) | (flat > most)
    count = int(np.count_nonzero(is_large))
    if count * FEW > flat.size:
        return None
    places = np.flatnonzero(is_large)
    small = flat.astype(np.int8)  # large entries wrap around
    small[places] = 0
    return Packed(small.reshape(values.shape), places, flat[places])
