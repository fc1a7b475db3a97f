"""``.szilard`` of datasets and arrays of xarray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from szilard.fields.checked import Checked
    from szilard.fields.written import Written


class DatasetFields:
    """``dataset.szilard``: write a dataset with a bound on every error, and check one against its original.

    Args:
        dataset: the dataset.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def to_zarr(self, path: str | Path, bound: Any, **options: Any) -> Written:
        """Write the dataset: :func:`szilard.fields.write` with the same arguments."""
        from szilard.fields.writing import write

        return write(self._dataset, path, bound, **options)

    def check(self, original: xr.Dataset, bound: Any = None) -> Checked:
        """Compare this dataset, opened from a store, with its original: :func:`szilard.fields.check`."""
        from szilard.fields.checking import check

        return check(self._dataset, original, bound)


class DataArrayFields:
    """``array.szilard``: the same for one variable.

    Args:
        array: the array; it needs a name.
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def to_zarr(self, path: str | Path, bound: Any, **options: Any) -> Written:
        """Write the array: :func:`szilard.fields.write` with the same arguments."""
        from szilard.fields.writing import write

        return write(self._array, path, bound, **options)

    def check(self, original: xr.DataArray, bound: Any = None) -> Checked:
        """Compare this array, opened from a store, with its original: :func:`szilard.fields.check`."""
        from szilard.fields.checking import check

        return check(self._array, original, bound)


_ACCESSORS: Mapping[type, type] = {xr.Dataset: DatasetFields, xr.DataArray: DataArrayFields}


def register() -> None:
    """Add ``.szilard`` to xarray, once."""
    for kind, accessor in _ACCESSORS.items():
        if not hasattr(kind, "szilard"):
            add = xr.register_dataset_accessor if kind is xr.Dataset else xr.register_dataarray_accessor
            add("szilard")(accessor)
