"""A store as a dataset without codecs of szilard: what other programs can hold, and the bounds as attributes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from szilard.errors import SzilardError, printable

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from szilard.cli.fields.progress_bar import Told

BOUND = "szilard_bound"  #: attribute with the bound that a variable was coded with


def selected(dataset: xr.Dataset, names: Sequence[str], path: object) -> xr.Dataset:
    """A dataset of some variables and their coordinates; of all without names.

    Raises:
        SzilardError: a variable is not there.
    """
    known = [str(name) for name in dataset.data_vars]
    for name in names:
        if name not in known:
            shown = ", ".join(printable(one, 60) for one in known[:20]) or "none"
            raise SzilardError(f"{path} has no variable {printable(name)}; it has {shown}")
    return dataset[list(names)] if names else dataset


def plain(dataset: xr.Dataset, told: Told) -> tuple[xr.Dataset, list[str]]:
    """The dataset to write, lazy and in the chunks of the store, and notes on what could not be kept.

    Args:
        dataset: opened from a store.
        told: is told of each chunk that is decoded.
    """
    from szilard.fields import ZarrField, encodings
    from szilard.fields.template import UNLIMITED

    found = dataset.copy()
    notes: list[str] = []
    whole = dict(dataset.attrs)
    unlimited = whole.pop(UNLIMITED, None)
    found.attrs = _attributes(whole, "the store", notes)
    found.encoding = {}
    if isinstance(unlimited, list):
        found.encoding["unlimited_dims"] = {dim for dim in unlimited if dim in dataset.sizes}
    about = _about(dataset)
    for key, variable in dataset.variables.items():
        name = str(key)
        codec = variable.encoding.get("serializer")
        attributes = _attributes(variable.attrs, printable(name), notes)
        kept = {key: value for key, value in encodings.plain(variable).items() if key != "fill_value"}
        if isinstance(codec, ZarrField):
            attributes[BOUND] = _words(codec, variable.attrs)
            kept = {key: value for key, value in kept.items() if key == "coordinates"}
            found[key] = _lazy(variable, name, told)
        if name in dataset.coords or name in about:
            _bare(kept)
        _name_coordinates(kept, dataset, outside=name in about)
        found[key].attrs = attributes
        found[key].encoding = kept
    return found, notes


def _about(dataset: xr.Dataset) -> set[str]:
    """Names of variables with the bounds of coordinates."""
    every = dataset.variables.values()
    keys = ("bounds", "climatology")
    return {str(one.attrs.get(key) or one.encoding.get(key)) for one in every for key in keys}


def _bare(encoding: dict[str, Any]) -> None:
    """No fill value, which CF forbids for coordinates and their bounds; one that is a number of its own is kept."""
    import numpy as np

    fill = encoding.get("_FillValue")
    if fill is None or (isinstance(fill, float | np.floating) and np.isnan(fill)):  # NaN stays NaN without it
        encoding["_FillValue"] = None


def _name_coordinates(encoding: dict[str, Any], dataset: xr.Dataset, *, outside: bool) -> None:
    """Leave out of the attribute ``coordinates`` what is not in the file; bounds of coordinates have none."""
    given = encoding.pop("coordinates", None)
    if outside:
        encoding["coordinates"] = None
    elif given is not None and all(one in dataset.variables for one in str(given).split()):
        encoding["coordinates"] = given


def _lazy(variable: xr.Variable, name: str, told: Told) -> xr.Variable:
    """A variable as blocks that are decoded when they are written."""
    import dask.array as da
    import numpy as np
    import xarray as xr

    from szilard.fields import blocks

    dtype = np.dtype(
        variable.dtype.type
    )  # in this machine's order of bytes, without saying so: netCDF warns otherwise

    def decoded(block: np.ndarray) -> np.ndarray:
        told.advance(name, block.nbytes, 0)
        return block.astype(dtype, copy=False)

    chunks = variable.encoding.get("chunks") or variable.shape
    lengths = [max(1, min(length, size)) for length, size in zip(chunks, variable.shape, strict=True)]
    array = blocks.lazy(variable, lengths)
    meta = np.empty((0,) * variable.ndim, dtype)
    return xr.Variable(variable.dims, da.map_blocks(decoded, array, dtype=dtype, meta=meta))


def _words(codec: Any, attributes: dict[str, Any]) -> str:
    """The bound with all its digits: ``0.05 K``, ``relative:0.01``, ``map:0.5*spread``."""
    if BOUND in attributes:
        return str(attributes[BOUND])
    bound = codec.codec.bound
    if bound.relative:
        return f"relative:{bound.size!r}"
    units = attributes.get("units")
    return f"{bound.size!r} {units}" if units else repr(bound.size)


def _attributes(given: dict[str, Any], where: str, notes: list[str]) -> dict[str, Any]:
    """Attributes that every format can hold: what JSON has and netCDF lacks becomes text."""
    import numpy as np

    found = {}
    for key, value in given.items():
        several = value if isinstance(value, list | tuple) else [value]
        if isinstance(value, np.ndarray) or (
            several
            and all(
                isinstance(one, str | int | float | np.number) and not isinstance(one, bool)
                for one in several
            )
            and len({isinstance(one, str) for one in several}) == 1
        ):
            found[key] = value
        else:
            found[key] = json.dumps(value, default=str)
            notes.append(f"the attribute {printable(str(key))} of {where} became text")
    return found
