"""Whether values were rounded with a bound before, and a warning that saving them again adds to their errors."""

from __future__ import annotations

import threading
import warnings

import numpy as np

from szilard.codec import Bound, lattice
from szilard.errors import SzilardWarning

_FEWEST = 64  #: values that tell anything
_FIRST = 4096  #: values of the first look
_said: set[str] = set()
_lock = threading.Lock()


def warn_once(array: np.ndarray, bound: Bound, key: str) -> None:
    """Warn, once for each codec, if all values lie on the lattice of a bound.

    Args:
        array: a chunk that is about to be coded.
        bound: of every value.
        key: of the codec.
    """
    if key in _said or bound.relative or not on_lattice(array, bound.unit):
        return
    with _lock:
        if key in _said:
            return
        _said.add(key)
    warnings.warn(
        SzilardWarning(
            f"values were rounded with this bound ({bound.size:.4g}) before; saving them again can move each by up to "
            "the bound once more; use drop_encoding() to store them exactly"
        ),
        stacklevel=2,
    )


def on_lattice(array: np.ndarray, unit: float) -> bool:
    """Whether all finite values are points of a lattice, and no coarser grid of numbers, such as integers, explains it.

    Values whose own digits are coarser than the lattice tell nothing; at least 64 others are needed.

    Args:
        array: float32 or float64.
        unit: of the lattice.
    """
    values = array[np.isfinite(array)]
    return _are_points(values[:_FIRST], unit) and (len(values) <= _FIRST or _are_points(values, unit))


def _are_points(values: np.ndarray, unit: float) -> bool:
    telling = values[np.spacing(np.abs(values)) < unit / 2]
    if len(telling) < _FEWEST:
        return False
    points = lattice.to_integers(values, unit)
    if points is None or not np.array_equal(lattice.from_integers(points, unit).astype(values.dtype), values):
        return False
    some = lattice.to_integers(telling, unit)
    return some is not None and int(np.gcd.reduce(some - some[0])) == 1
