"""Values that bins cannot give, and the points of the lattice of those that they can."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from szilard.codec.lattice import Bound, exp2, from_integers, to_integers
from szilard.codec.layout import Layout
from szilard.coding import CodingError, Decoder

MOST_MARKS = 250  #: different constants
_MANY = 16  # zeros are constants if they are more than one value in so many
_FAR = 1 << 21  # bins from the median, from which on values are constants


@dataclass(frozen=True)
class Marks:
    """Values that bins cannot give: signs under a relative bound, many zeros, outliers, and those that are not finite.

    Attributes:
        levels: int32 ``[slices, rows · columns]``: 0: a bin; 1: a bin of a negative value; 2 and more: a constant.
        constants: the bits of each constant, unsigned integers ``[n]``.
    """

    levels: np.ndarray
    constants: np.ndarray

    @property
    def coded(self) -> np.ndarray:
        """Which values have bins, bool."""
        return self.levels < 2


def marks_of(array: np.ndarray, bound: Bound) -> Marks | None:
    """Marks of an array; None if there are more different constants than a stream can hold."""
    flat = array.reshape(-1)
    levels = np.zeros(flat.size, np.int32)
    constant = ~np.isfinite(flat)
    zero = flat == 0
    if bound.relative:
        constant |= zero
        levels[flat < 0] = 1
    else:
        if np.count_nonzero(zero) * _MANY > flat.size:  # rain, ice: no rain stays none
            constant |= zero
        constant |= _outliers(flat, constant, bound)
    bits = flat[constant].view(np.uint32 if flat.dtype.itemsize == 4 else np.uint64)
    constants, place = np.unique(bits, return_inverse=True)
    if len(constants) > MOST_MARKS:
        return None
    levels[constant] = place + 2
    return Marks(levels, constants)


def _outliers(flat: np.ndarray, constant: np.ndarray, bound: Bound) -> np.ndarray:
    """Values so far from the others that the coarse grid could not code the jump, such as fill values, ``[N]``."""
    kept = flat[~constant].astype(np.float64)
    far = 2.0 * _FAR * bound.size
    if not kept.size or kept.max() / 2 - kept.min() / 2 < far / 2:
        return np.zeros(flat.size, bool)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(flat.astype(np.float64) - np.median(kept)) >= far


def points_of(array: np.ndarray, bound: Bound, marks: Marks, layout: Layout) -> np.ndarray | None:
    """Points of the lattice ``[slices, rows · columns]``, 0 at constants; None if one is too far from zero."""
    values = np.where(marks.coded, array.reshape(-1), 1).astype(np.float64)
    if bound.relative:
        values = np.log2(np.abs(values))
    points = to_integers(values, bound.unit)
    if points is None:
        return None
    points[~marks.coded] = 0
    return points.reshape(layout.count, -1)


def values_of(points: np.ndarray, bound: Bound, marks: Marks, dtype: np.dtype) -> np.ndarray:
    """Decoded values of points of the lattice."""
    values = from_integers(points.reshape(-1), bound.unit)
    if bound.relative:
        with np.errstate(over="ignore"):
            values = exp2(np.clip(values, -1100, 1100))
        values = np.where(marks.levels == 1, -values, values)
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    constant = ~marks.coded
    found[constant] = marks.constants[marks.levels[constant] - 2].view(dtype)
    return found


def read(side: Decoder, data: bytes, marked: bool, layout: Layout, dtype: np.dtype) -> Marks:
    """The marks of a stream; raises if they are damaged."""
    height, width = layout.slice_shape
    if len(data) % dtype.itemsize or len(data) // dtype.itemsize > MOST_MARKS:
        raise CodingError("the constants of the field are damaged")
    constants = np.frombuffer(data, f"<u{dtype.itemsize}")
    if not marked:
        return Marks(np.zeros(layout.count * height * width, np.int32), constants)
    levels = side.levels(layout.count * height, width).reshape(-1)
    if levels.size and not 0 <= levels.min() <= levels.max() < len(constants) + 2:
        raise CodingError("the marks of the field are damaged")
    return Marks(levels, constants)
