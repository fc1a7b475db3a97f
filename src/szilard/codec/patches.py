"""Values that would be out of bounds, stored as they are."""

from __future__ import annotations

import numpy as np

from szilard.codec.lattice import Bound
from szilard.codec.marks import Marks
from szilard.coding import CodingError
from szilard.coding.cursor import Cursor
from szilard.coding.leb128 import encoded as varint

_MOST = 0.02  # share of values from which on the array is stored as it is


def find(
    original: np.ndarray, decoded: np.ndarray, bound: Bound, marks: Marks, allowed: np.ndarray | None = None
) -> bytes | None:
    """Values outside the bound, or the ``allowed`` error of each, with their places; None if there are too many."""
    places = np.flatnonzero(marks.coded)
    places = places[
        bound.broken(original[places], decoded[places], None if allowed is None else allowed[places])
    ]
    if len(places) > _MOST * len(original):
        return None
    gaps = np.diff(places, prepend=-1) - 1
    return varint(len(places)) + b"".join(map(varint, gaps.tolist())) + original[places].tobytes()


def apply(values: np.ndarray, data: bytes) -> None:
    """Set the stored values, ``[N]``, in place."""
    cursor = Cursor(data, "the list of corrections of the field")
    count = cursor.varint(len(values))
    place = -1
    places = []
    for _ in range(count):
        place += 1 + cursor.varint(len(values))
        places.append(place)
        if place >= len(values):
            raise CodingError("a corrected value of the field is outside the array; the file is damaged")
    values[places] = np.frombuffer(cursor.take(count * values.itemsize), values.dtype)
    cursor.end()
