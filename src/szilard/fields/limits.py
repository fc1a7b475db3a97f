"""Bounds of the variables of a dataset: ranges are computed, maps are laid over the variables and checked."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from szilard.codec import Bound
from szilard.errors import SzilardError, SzilardWarning, printable
from szilard.fields import blocks, bounds
from szilard.fields.bounds import OTHERS, Stated
from szilard.fields.chunking import usual

_SHOWN = 20  # names in a message


@dataclass(frozen=True)
class Limit:
    """The bound of a variable.

    Attributes:
        stated: as the user gave it.
        bound: of every value; with a map the least of its values.
        map: bound of each value before the factor, with some of the variable's dimensions; None: one bound for all.
        units: of the variable, or empty.
    """

    stated: Stated
    bound: Bound
    map: xr.Variable | None = None
    units: str = ""

    @property
    def words(self) -> str:
        """The bound with units: ``0.05 K``, ``1 % of each value``, ``0.5 times ens_std, at least 0.002 K``."""
        units = f" {self.units}" if self.units else ""
        if self.map is not None:
            name = self.stated.name or "the map"
            factor = "" if self.stated.size == 1 else f"{self.stated.size:g} times "
            return f"{factor}{name}, at least {self.bound.size:.3g}{units}"
        if self.bound.relative:
            return f"{100 * self.bound.size:.4g} % of each value"
        return f"{self.bound.size:.4g}{units}"

    def laid(self, variable: xr.Variable, chunks: Sequence[int]) -> da.Array | None:
        """The map over a variable, as blocks of these chunks; None without a map."""
        if self.map is None:
            return None
        return blocks.lazy_as(self.map, variable.dims, variable.shape, chunks)

    def of_block(self, laid: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Bounds of the values of a block, float64; the least one where a value is not finite."""
        found = laid.astype(np.float64) * self.stated.size
        return np.where(np.isfinite(values), found, self.bound.size)


def limits(dataset: xr.Dataset, bound: Any, workers: int) -> dict[str, Limit]:
    """The bound of each variable that has one, in the order of the dataset.

    Args:
        dataset: whose variables the bounds are for.
        bound: see :mod:`szilard.fields.bounds`.
        workers: threads that read ranges and maps.

    Raises:
        SzilardError: a bound is for a variable that is not there or cannot be coded, or a map does not fit.
    """
    given = bounds.by_variable(bound)
    stated = _chosen(dataset, given)
    found = {}
    for name, one in stated.items():
        limit = _limit(dataset, name, one, workers)
        if limit is not None:
            found[name] = limit
    return found


def codable(variable: xr.Variable) -> bool:
    """Whether a variable is float32 or float64 and has values and a dimension."""
    return (
        variable.dtype.kind == "f"
        and variable.dtype.itemsize in (4, 8)
        and variable.size > 0
        and variable.ndim > 0
    )


def _chosen(dataset: xr.Dataset, given: dict[str, Stated]) -> dict[str, Stated]:
    for name in given:
        if name != OTHERS:
            _refuse(dataset, name)
    about = {str(dataset[name].attrs.get(key) or dataset[name].encoding.get(key)) for name in dataset.variables
             for key in ("bounds", "climatology", "grid_mapping")}  # fmt: skip
    found = {}
    for key, variable in dataset.data_vars.items():
        name = str(key)
        if name in given:
            found[name] = given[name]
        elif OTHERS in given and codable(variable.variable) and name not in about:
            found[name] = given[OTHERS]
    if not found:
        raise SzilardError(f"the dataset has no variable of float32 or float64; it has {_names(dataset)}")
    return found


def _refuse(dataset: xr.Dataset, name: str) -> None:
    """Raise unless a bound can be for a variable of this name."""
    shown = printable(name)
    if name in dataset.coords:
        raise SzilardError(f"{shown} is a coordinate, which is stored exactly; leave out its bound")
    if name not in dataset.data_vars:
        raise SzilardError(f"there is no variable {shown} to bound; the dataset has {_names(dataset)}")
    variable = dataset.variables[name]
    if variable.dtype.kind != "f" or variable.dtype.itemsize not in (4, 8):
        raise SzilardError(
            f"{shown} is {variable.dtype}, and bounds are for float32 and float64; convert it, or leave out its bound "
            "to store it exactly"
        )
    if not codable(variable):
        raise SzilardError(f"{shown} has no dimension or no values; leave out its bound to store it exactly")


def _names(dataset: xr.Dataset) -> str:
    names = [printable(str(name)) for name in dataset.data_vars]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "no variables") + more


def _limit(dataset: xr.Dataset, name: str, stated: Stated, workers: int) -> Limit | None:
    variable, units = dataset.variables[name], str(dataset.variables[name].attrs.get("units", ""))
    if stated.kind == "map":
        laid = _map(dataset, name, stated)
        least = _least(variable, laid, stated, name, workers)
        return None if least is None else Limit(stated, Bound(least), laid, units)
    if stated.kind == "range":
        length = _range(variable, workers)
        if not stated.size * length > 0:
            warnings.warn(
                SzilardWarning(
                    f"{printable(name)} is stored exactly: its values are all the same or not finite, so that a share "
                    "of their range is no bound; state a number to compress it"
                ),
                stacklevel=2,
            )
            return None
        return Limit(stated, Bound(stated.size * length), None, units)
    return Limit(stated, Bound(stated.size, stated.kind == "relative"), None, units)


def _range(variable: xr.Variable, workers: int) -> float:
    """Largest less least finite value; NaN without any."""

    def job(place: tuple[int, ...], block: np.ndarray) -> tuple[float, float]:
        finite = block[np.isfinite(block)]
        return (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)

    chunks = usual(variable.shape)
    every = list(blocks.places(variable.shape, chunks))
    found = np.array(blocks.each(job, [blocks.lazy(variable, chunks)], every, workers))
    length = float(found[:, 1].max() / 2 - found[:, 0].min() / 2) * 2
    return length if 0 <= length < np.inf else np.nan


def _map(dataset: xr.Dataset, name: str, stated: Stated) -> xr.Variable:
    array, shown = stated.array, printable(name)
    if array is None:
        if stated.name not in dataset.variables:
            raise SzilardError(
                f"there is no variable {printable(str(stated.name))} for the bounds of {shown}; the dataset has "
                f"{_names(dataset)}"
            )
        array = dataset[stated.name]
    if isinstance(array, np.ndarray):
        array = _named(array, dataset.variables[name], shown)
    if array.dtype.kind not in "fiu":
        raise SzilardError(f"the map of bounds of {shown} is {array.dtype}; it must be of numbers")
    target = dataset[name]
    for dim, size in zip(array.dims, array.shape, strict=True):
        if dim not in target.dims:
            raise SzilardError(
                f"the map of bounds of {shown} has a dimension {printable(str(dim))}, which the variable lacks; select "
                "or average along it"
            )
        if size != target.sizes[dim]:
            raise SzilardError(
                f"the map of bounds of {shown} has {size} values along {printable(str(dim))}, and the variable has "
                f"{target.sizes[dim]}"
            )
        if (
            dim in array.indexes
            and dim in target.indexes
            and not array.indexes[dim].equals(target.indexes[dim])
        ):
            raise SzilardError(
                f"the map of bounds of {shown} has other coordinates along {printable(str(dim))} than the variable; "
                "bring it to the same ones (reindex_like)"
            )
    return array.variable


def _named(array: np.ndarray, variable: xr.Variable, shown: str) -> xr.DataArray:
    """An array that numpy would broadcast to a variable, with the variable's last dimensions."""
    sizes = variable.shape[variable.ndim - array.ndim :] if array.ndim <= variable.ndim else ()
    if len(sizes) != array.ndim or any(n not in (1, m) for n, m in zip(array.shape, sizes, strict=True)):
        raise SzilardError(
            f"the map of bounds of {shown} has the shape {array.shape}, which cannot be broadcast to that of the "
            f"variable, {variable.shape}; give an array of its last dimensions, or an xarray.DataArray"
        )
    dims = variable.dims[variable.ndim - array.ndim :]
    kept = [n == m for n, m in zip(array.shape, sizes, strict=True)]
    index = tuple(slice(None) if keep else 0 for keep in kept)
    return xr.DataArray(array[index], dims=[dim for dim, keep in zip(dims, kept, strict=True) if keep])


def _least(variable: xr.Variable, laid: xr.Variable, stated: Stated, name: str, workers: int) -> float | None:
    """The least bound of a finite value; None without any. Raises for one that is not positive and finite."""

    def job(place: tuple[int, ...], block: np.ndarray, bound: np.ndarray) -> tuple[float, int, int]:
        used = bound[np.isfinite(block)].astype(np.float64) * stated.size
        good = (used > 0) & np.isfinite(used)
        least = float(used[good].min()) if good.any() else np.inf
        return least, int((used == 0).sum()), int((~good).sum())

    chunks = usual(variable.shape)
    every = list(blocks.places(variable.shape, chunks))
    arrays = [
        blocks.lazy(variable, chunks),
        blocks.lazy_as(laid, variable.dims, variable.shape, chunks),
    ]
    found = blocks.each(job, arrays, every, workers)
    zeros, bad = sum(one[1] for one in found), sum(one[2] for one in found)
    if bad:
        what = "0" if zeros == bad else "0, negative, NaN or infinite"
        raise SzilardError(
            f"the map gives {bad} finite values of {printable(name)} a bound that is {what}, which nothing but a copy "
            "keeps; give them a positive bound, or leave out the bound of the variable to store it exactly"
        )
    least = min((one[0] for one in found), default=np.inf)
    return least if np.isfinite(least) else None
