"""Compare a store with its original, value by value, on the terms that the user stated."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from szilard.codec import Bound
from szilard.errors import SzilardError, first_line, printable
from szilard.fields import blocks, bounds
from szilard.fields.bounds import Stated
from szilard.fields.checked import Checked, CheckedVariable
from szilard.fields.chunking import usual
from szilard.fields.limits import Limit, limits
from szilard.fields.template import MAP
from szilard.fields.writing import as_dataset
from szilard.fields.zarr_codec import ZarrField


def check(
    dataset: xr.Dataset | xr.DataArray | str | Path,
    original: xr.Dataset | xr.DataArray | str | Path,
    bound: Any = None,
    *,
    workers: int | None = None,
) -> Checked:
    """Compare a store with its original, chunk by chunk.

    An absolute error is |x - y| in float64; under a relative bound ρ it must be at most ρ |x|.

    Args:
        dataset: a store, or a dataset or array that was opened from one.
        original: what was written; a path is opened with xarray.
        bound: as it was stated, see :func:`szilard.fields.write`; None: that of the store's metadata, where a map is a
            variable of the original.
        workers: threads; None: one for each core, at most four.

    Raises:
        SzilardError: the two have other shapes, the bound of a variable is not known, nothing has a bound, or the
            original lacks a variable or coordinate that the store has.
    """
    stored, source = _opened(dataset), _opened(original)
    threads = blocks.workers_of(workers)
    found = _limits(stored, source, bound, threads)
    _check_whole(stored, source, found)
    compared = {name: _compared(stored, source, name, limit, threads) for name, limit in found.items()}
    names = [str(name) for name in source.variables if name not in found]
    there = [name for name in names if name in stored.variables]
    equal = {name: _equal(stored.variables[name], source.variables[name], threads) for name in there}
    return Checked(
        compared,
        tuple(name for name in there if equal[name]),
        tuple(name for name in there if not equal[name]),
        tuple(str(name) for name in source.variables if name not in stored.variables),
    )


def _check_whole(stored: xr.Dataset, source: xr.Dataset, found: dict[str, Limit]) -> None:
    """Raise if there would be nothing to compare, or something of the store would be left out."""
    if not found:
        raise SzilardError(
            "no variable of the store has a bound, so that there is nothing to check; open the store with "
            "xarray.open_zarr and check that, or state the bound"
        )
    absent = [str(name) for name in stored.variables if name not in source.variables]
    if absent:
        raise SzilardError(
            f"the original has no {printable(absent[0])}, which the store holds; give what the store was made of, or "
            "select the same variables of both"
        )


def _opened(given: xr.Dataset | xr.DataArray | str | Path) -> xr.Dataset:
    if not isinstance(given, str | Path):
        return as_dataset(given)
    try:
        if (Path(given) / "zarr.json").is_file():
            return xr.open_dataset(given, engine="zarr", consolidated=False)
        return xr.open_dataset(given)
    except (OSError, ValueError, KeyError) as error:
        raise SzilardError(f"{given} cannot be opened as a dataset ({first_line(error)})") from error


def _limits(stored: xr.Dataset, source: xr.Dataset, bound: Any, workers: int) -> dict[str, Limit]:
    """The bound of each variable that the store does not hold exactly."""
    stated: dict[str, Stated] = {}
    for name, variable in stored.data_vars.items():
        codec = variable.encoding.get("serializer")
        if not isinstance(codec, ZarrField):
            continue
        if name not in source.variables:
            raise SzilardError(
                f"the original has no variable {printable(str(name))}, which the store holds with a bound; give what "
                "the store was made of, or select the same variables of both"
            )
        if MAP in variable.attrs:
            stated[str(name)] = _mapped(str(name), str(variable.attrs[MAP]), source, bound)
        else:
            stated[str(name)] = bounds.parse(codec.codec.bound, str(name))
    if bound is None:
        return limits(source, stated, workers) if stated else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant variables, when they were written
        given = limits(source, bound, workers)
    rest = {name: one for name, one in stated.items() if name not in given}
    return given | (limits(source, rest, workers) if rest else {})


def _mapped(name: str, words: str, source: xr.Dataset, bound: Any) -> Stated:
    stated = bounds.parse(words if words != "map" else Bound(1), name)
    if words != "map" and stated.name in source.variables:
        return stated
    if bound is not None:
        given = bounds.by_variable(bound)
        if name in given or bounds.OTHERS in given:
            return given.get(name) or given[bounds.OTHERS]
    raise SzilardError(
        f"the bounds of {printable(name)} are a map ({printable(words)}) that the original does not hold; give it as "
        "bound"
    )


def _compared(
    stored: xr.Dataset, source: xr.Dataset, name: str, limit: Limit, workers: int
) -> CheckedVariable:
    if name not in stored.variables:
        return CheckedVariable(name, limit.words, 0, 0, 0.0, 0.0, 0)
    ours, theirs = stored.variables[name], source.variables[name]
    if ours.dims != theirs.dims or ours.shape != theirs.shape:
        raise SzilardError(
            f"{printable(name)} has {dict(ours.sizes)} in the store and {dict(theirs.sizes)} in the original; select "
            "the same part of both"
        )

    def job(
        place: tuple[int, ...], got: np.ndarray, wanted: np.ndarray, laid: Any = None
    ) -> tuple[int, float, float, int]:
        allowed = None if laid is None else limit.of_block(laid, wanted)
        return compare(got, wanted, limit.bound, allowed)

    chunks = _chunks(ours)
    laid = limit.laid(theirs, chunks)
    arrays = [blocks.lazy(ours, chunks), blocks.lazy(theirs, chunks)] + ([] if laid is None else [laid])
    found = blocks.each(job, arrays, list(blocks.places(ours.shape, chunks)), workers)
    beyond, largest, errors, moved = zip(*found, strict=True) if found else ((), (0.0,), (0.0,), ())
    return CheckedVariable(name, limit.words, ours.size, sum(beyond), max(largest), max(errors), sum(moved))


def compare(
    got: np.ndarray, wanted: np.ndarray, bound: Bound, allowed: np.ndarray | None = None
) -> tuple[int, float, float, int]:
    """Values beyond the bound, the largest error in units of it and as it is, and values not finite on one side alone.

    Args:
        got: of the store.
        wanted: of the original, of the same shape.
        bound: of every value.
        allowed: bound of each value instead.
    """
    x, y = wanted.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    same = (np.isnan(x) & np.isnan(y)) | (x == y)
    moved = int((~finite & ~same).sum())
    x, y = x[finite], y[finite]
    error = np.abs(x - y)
    most = bound.size * np.abs(x) if bound.relative else np.full_like(x, bound.size)
    if allowed is not None:
        most = allowed[finite]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(error == 0, 0.0, error / most)
    largest, farthest = float(share.max(initial=0.0)), float(error.max(initial=0.0))
    return int((~(error <= most)).sum()), largest, farthest, moved


def _chunks(variable: xr.Variable) -> Sequence[int]:
    """Chunks of the array in the store, so that each is decoded once."""
    chunks = variable.encoding.get("chunks")
    if (
        isinstance(chunks, tuple)
        and len(chunks) == variable.ndim
        and all(isinstance(one, int) for one in chunks)
    ):
        return [max(1, min(one, size)) for one, size in zip(chunks, variable.shape, strict=True)]
    return usual(variable.shape)


def _equal(ours: xr.Variable, theirs: xr.Variable, workers: int) -> bool:
    """Whether two variables hold the same values; NaN equals NaN."""
    if ours.dims != theirs.dims or ours.shape != theirs.shape:
        return False
    if ours.dtype.kind not in "fiub" or not ours.size or not ours.ndim or isinstance(ours, xr.IndexVariable):
        return bool(ours.equals(theirs))

    def job(place: tuple[int, ...], got: np.ndarray, wanted: np.ndarray) -> bool:
        return bool(np.array_equal(got, wanted, equal_nan=got.dtype.kind == "f" and wanted.dtype.kind == "f"))

    chunks = _chunks(ours)
    arrays = [blocks.lazy(one, chunks) for one in (ours, theirs)]
    return all(blocks.each(job, arrays, list(blocks.places(ours.shape, chunks)), workers))
