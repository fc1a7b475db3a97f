"""Shapes of chunks, and whether longitudes go around."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from szilard.errors import SzilardError, printable

SLICE = 1 << 20  #: values of the last two axes that stay whole
CHUNK = 2 << 20  #: values of a chunk, about
_NAMES = frozenset({"lon", "long", "longitude", "longitudes"})
_UNITS = frozenset({"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"})


def usual(shape: Sequence[int]) -> tuple[int, ...]:
    """The usual shape of a chunk: the last two axes whole up to ``SLICE`` values, and leading axes up to ``CHUNK``."""
    if len(shape) < 2:
        return tuple(_even(length, CHUNK) for length in shape)
    rows, columns = shape[-2:]
    if rows * columns > SLICE:
        columns = _even(columns, SLICE)
        rows = _even(rows, SLICE // columns)
    left = max(1, round(CHUNK / max(rows * columns, 1)))
    leading: list[int] = []
    for length in reversed(shape[:-2]):
        leading.insert(0, _even(length, left))
        left = max(1, left // leading[0])
    return (*leading, max(rows, 1), max(columns, 1))


def chosen(variable: xr.Variable, wanted: Mapping[str, int] | None) -> tuple[int, ...]:
    """The shape of a chunk of a variable.

    Args:
        variable: to be written.
        wanted: lengths by dimension; -1: the whole axis. Others are as usual.
    """
    found = dict(zip(map(str, variable.dims), usual(variable.shape), strict=True))
    for name, length in (wanted or {}).items():
        if name in found:
            whole = variable.sizes[name]
            found[name] = whole if length == -1 else min(length, whole)
    return tuple(found.values())


def check_chunks(dataset: xr.Dataset, chunks: Mapping[str, int] | None) -> None:
    """Raise unless lengths of chunks are integers for dimensions of a dataset."""
    for name, length in (chunks or {}).items():
        if name not in dataset.sizes:
            dims = ", ".join(printable(str(dim)) for dim in dataset.sizes)
            raise SzilardError(
                f"chunks name the dimension {printable(str(name))}, which is not there; there are {dims}"
            )
        if (
            isinstance(length, bool)
            or not isinstance(length, int | np.integer)
            or not (length > 0 or length == -1)
        ):
            raise SzilardError(
                f"the length of chunks along {printable(str(name))} must be a positive integer, or -1 for the whole "
                f"axis, not {length!r}"
            )


def goes_around(array: xr.DataArray) -> bool:
    """Whether the last dimension of an array has evenly spaced longitudes that cover 360 degrees once."""
    if not array.dims or array.dims[-1] not in array.coords:
        return False
    coordinate = array.coords[array.dims[-1]]
    name, attributes = str(array.dims[-1]), coordinate.attrs
    if not (
        attributes.get("standard_name") == "longitude"
        or str(attributes.get("units", "")).lower() in _UNITS
        or name.lower() in _NAMES
    ):
        return False
    if coordinate.dtype.kind not in "fiu" or coordinate.size < 2:
        return False
    steps = np.diff(coordinate.values.astype(np.float64))
    step = 360 / coordinate.size
    return bool(
        np.all(np.abs(np.abs(steps) - step) < 0.02 * step) and abs(abs(steps.sum()) + step - 360) < 0.1 * step
    )


def _even(length: int, most: int) -> int:
    """A length up to ``most`` that cuts an axis into parts of nearly equal length."""
    return math.ceil(length / math.ceil(length / most)) if length else 1
