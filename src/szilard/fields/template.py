"""The store without the chunks of variables with a bound: metadata, coordinates and all other variables."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from szilard import atomic
from szilard.codec import FieldCodec
from szilard.errors import SzilardError, first_line
from szilard.fields import encodings
from szilard.fields.plan import Plan
from szilard.fields.zarr_codec import ZarrField

MAP = "szilard_bound"  #: attribute of a variable whose bounds are those of a map: the bound as it was stated

UNLIMITED = "szilard_unlimited"  #: attribute of a store: dimensions that had no fixed length in the source


def write(dataset: xr.Dataset, folder: Path, plans: dict[str, Plan], codecs: dict[str, FieldCodec]) -> None:
    """Write everything but the chunks of variables with a bound.

    Args:
        dataset: the whole dataset.
        folder: that of the store, which is made.
        plans: of the variables with a bound.
        codecs: of the same.
    """
    outline = dataset.copy()
    outline.encoding = {}
    outline.attrs.pop(UNLIMITED, None)
    unlimited = [str(dim) for dim in dataset.encoding.get("unlimited_dims") or () if dim in dataset.sizes]
    if unlimited:
        outline.attrs[UNLIMITED] = sorted(unlimited)
    wanted: dict[str, dict[str, Any]] = {}
    lazy = []
    for name, variable in dataset.variables.items():
        if name in plans:
            plan = plans[str(name)]
            dtype = variable.dtype.newbyteorder("=")
            empty = da.empty(variable.shape, chunks=plan.chunks, dtype=dtype)
            attributes = dict(variable.attrs)
            attributes.pop(MAP, None)
            if plan.limit.map is not None:
                attributes[MAP] = plan.limit.stated.words
            kept = {key: value for key, value in variable.encoding.items() if key == "coordinates"}
            outline[name] = xr.Variable(variable.dims, empty, attributes, kept)
            wanted[str(name)] = {
                "serializer": ZarrField(codecs[plan.name]), "compressors": (), "filters": (), "chunks": plan.chunks,
                **kept,
            }  # fmt: skip
        else:
            outline[name].encoding = encodings.plain(variable)
            if isinstance(variable._data, da.Array):
                lazy.append(str(name))
    try:
        outline.to_zarr(
            folder, mode="a", zarr_format=3, consolidated=False, compute=False, encoding=_valid(wanted)
        )
        for name in lazy:
            _store(outline, name, folder)
    except OSError as error:
        raise atomic.refusal(folder, error) from error
    except (TypeError, ValueError, NotImplementedError) as error:
        raise SzilardError(f"xarray cannot write the dataset as zarr: {first_line(error)}") from error


def consolidate(folder: Path) -> None:
    """Put the metadata of all arrays into that of the store, so that xarray opens it at once and without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", category=UserWarning)
        try:
            zarr.consolidate_metadata(folder, zarr_format=3)
        except OSError as error:
            raise atomic.refusal(folder, error) from error


def _valid(wanted: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Encodings without those that are kept in the variables."""
    return {name: {key: one[key] for key in one if key != "coordinates"} for name, one in wanted.items()}


def _store(outline: xr.Dataset, name: str, folder: Path) -> None:
    """Write a lazy variable without a bound into its array, which is there."""
    variable = outline.variables[name]
    alone = xr.Dataset({name: variable.copy(deep=False)})
    alone = alone.drop_vars([other for other in alone.variables if other != name])
    region = {str(dim): slice(0, size) for dim, size in variable.sizes.items()}
    if region:
        alone.to_zarr(folder, region=region, mode="r+", zarr_format=3, consolidated=False)
    else:
        alone[name] = xr.Variable((), np.asarray(variable.values), variable.attrs, variable.encoding)
        alone.to_zarr(folder, mode="a", zarr_format=3, consolidated=False)
