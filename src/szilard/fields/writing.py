"""Write a dataset as a zarr store in which no value is farther from the original than its bound."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from szilard.codec import FieldCodec
from szilard.errors import SzilardError, printable
from szilard.fields import calls, encodings, template
from szilard.fields.blocks import workers_of
from szilard.fields.chunk_writer import ChunkWriter
from szilard.fields.chunking import check_chunks, chosen, goes_around
from szilard.fields.limits import limits
from szilard.fields.places import folder_of
from szilard.fields.plan import Plan
from szilard.fields.progress import Progress, Silent
from szilard.fields.sampling import sample
from szilard.fields.unfinished import Unfinished, source_of
from szilard.fields.written import Written, WrittenVariable


def write(
    dataset: xr.Dataset | xr.DataArray,
    path: str | Path,
    bound: Any,
    *,
    chunks: Mapping[str, int] | None = None,
    periodic: bool | None = None,
    fit: bool | Mapping[str, FieldCodec] = True,
    seed: int = 0,
    effort: float = 1.0,
    resume: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write a dataset as a zarr store (format 3), chunk by chunk: it may be larger than memory.

    ``xarray.open_zarr`` and ``open_dataset`` read it with all coordinates and attributes. Variables without a bound are
    stored exactly. The store has its name when it is complete; until then it is ``NAME.unfinished``.

    Args:
        dataset: its variables may be in memory, of Dask, or of files that are open.
        path: a folder.
        bound: largest error of every value: a number in the variable's units, ``"relative:0.01"`` (a share of each
            value's magnitude), ``"range:1e-3"`` (a share of the variable's range), ``"map:NAME"`` or
            ``"map:0.5*NAME"`` (another variable gives a bound for each value), a :class:`szilard.codec.Bound`, or an
            array of bounds; or a dict of these by variable, in which ``"*"`` stands for every other float variable.
        chunks: lengths of chunks by dimension; -1: the whole axis. By default about two million values with whole
            slices.
        periodic: whether the last axis goes around; None: if it has longitudes of the whole globe.
        fit: fit the weights to each variable; False: use the default ones; or codecs by variable.
        seed: of the fits.
        effort: factor on the time of each fit, half a minute of a core.
        resume: continue a write that was killed, with the same settings; a new one starts if there is none.
        overwrite: replace a store, once the new one is complete.
        workers: threads; None: one for each core, at most four.
        progress: is told how far the write is.

    Raises:
        SzilardError: a bound does not fit, the store exists, or the disk is full; the store is then not there, or as it
            was.
    """
    path, whole = folder_of(path), as_dataset(dataset)
    _check(path, whole, chunks, effort, workers)
    place = Unfinished(path, resume=resume, overwrite=overwrite)
    told, threads = progress or Silent(), workers_of(workers)
    told.status("reading bounds")
    found = limits(whole, bound, threads)
    plans = {}
    for name, limit in found.items():
        encodings.checked(name, whole.variables[name], limit)
        shape = chosen(whole.variables[name], chunks)
        calls.check_size(shape, name)
        around = goes_around(whole[name]) if periodic is None else periodic
        plans[name] = Plan(
            name, whole.variables[name], limit, shape, around and shape[-1] == whole[name].shape[-1]
        )
    settings = _settings(whole, plans, seed, effort, fit)
    saved = place.codecs(settings)
    with place.held():
        spent = dict.fromkeys(plans, (0.0, 0.0))
        if saved is None:
            codecs = {}
            for name, plan in plans.items():
                told.status(f"fitting {name}")
                start = time.perf_counter(), time.process_time()
                codecs[name] = _codec(plan, fit, seed, effort)
                spent[name] = time.perf_counter() - start[0], time.process_time() - start[1]
            told.status("writing coordinates and variables without a bound")
            template.write(whole, place.store, plans, codecs)
            place.save(settings, {name: codec.to_dict() for name, codec in codecs.items()})
        else:
            codecs = {name: FieldCodec.from_dict(saved[name]) for name in plans}
        writers = {
            name: ChunkWriter(plan, codecs[name], place.store, threads) for name, plan in plans.items()
        }
        told.start(
            sum(one.total for one in writers.values()),
            sum(one.plan.variable.nbytes for one in writers.values()),
        )
        done = {name: _written(one, spent[name], told) for name, one in writers.items()}
        template.consolidate(place.store)
        size = sum(file.stat().st_size for file in place.store.rglob("*") if file.is_file())
        place.finish()
    exact = tuple(str(name) for name in whole.variables if name not in plans)
    return Written(path, done, exact, size, sum(one.nbytes for one in whole.variables.values()))


def as_dataset(given: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """A dataset, or an array with a name as one."""
    if isinstance(given, xr.Dataset):
        return given
    if isinstance(given, xr.DataArray):
        if given.name is None:
            raise SzilardError("the array has no name; give it one with array.rename('t2m')")
        return given.to_dataset()
    raise SzilardError(
        f"a dataset of xarray is needed, not {type(given).__name__}; open the file with xarray first"
    )


def _check(
    path: Path, dataset: xr.Dataset, chunks: Mapping[str, int] | None, effort: float, workers: int | None
) -> None:
    if "://" in str(path) or ":/" in str(path)[2:]:
        raise SzilardError(f"{path} is not a local folder; write to a local one and copy it")
    check_chunks(dataset, chunks)
    if not 0 <= effort < float("inf"):
        raise SzilardError(f"effort must be finite and not negative, not {effort:g}")
    if workers is not None and (isinstance(workers, bool) or workers < 1):
        raise SzilardError(f"workers must be at least 1, not {workers}")
    for name in dataset.variables:
        if not isinstance(name, str) or "/" in name or name in ("", ".", "..") or name.startswith("__"):
            raise SzilardError(
                f"a variable has the name {printable(str(name))!r}, which zarr cannot store; rename it (dataset.rename)"
            )
    for name, index in dataset.xindexes.items():
        if isinstance(index, xr.indexes.PandasMultiIndex):
            raise SzilardError(
                f"{printable(str(name))} is part of a stacked index, which zarr cannot store; unstack or reset it "
                "first (dataset.unstack, dataset.reset_index)"
            )


def _settings(
    dataset: xr.Dataset, plans: dict[str, Plan], seed: int, effort: float, fit: Any
) -> dict[str, Any]:
    """What must be the same when a write is resumed, as JSON gives it back."""
    return {
        "source": source_of(dataset, list(plans)),
        "bound": {name: [plan.limit.stated.words, plan.limit.bound.size] for name, plan in plans.items()},
        "chunks": {name: list(plan.chunks) for name, plan in plans.items()},
        "periodic": {name: plan.periodic for name, plan in plans.items()},
        "seed": seed,
        "effort": effort,
        "fit": fit if isinstance(fit, bool) else sorted(fit),
    }


def _codec(plan: Plan, fit: bool | Mapping[str, FieldCodec], seed: int, effort: float) -> FieldCodec:
    bound, around = plan.limit.bound, plan.periodic
    if not isinstance(fit, bool) and plan.name in fit:
        return replace(fit[plan.name], bound=bound, periodic=around, within=False)
    if fit is False:
        return FieldCodec.default(bound, periodic=around)
    values, laid = sample(plan.variable, plan.limit.laid(plan.variable, plan.chunks), plan.chunks)
    bounds = None if laid is None else plan.limit.of_block(laid, values)
    return calls.fitted(values, bound, bounds, periodic=around, seed=seed, effort=effort)


def _written(writer: ChunkWriter, spent: tuple[float, float], told: Progress) -> WrittenVariable:
    plan = writer.plan
    told.status(f"writing {plan.name}")
    start = time.perf_counter()
    new, cpu = writer.run(told)
    return WrittenVariable(
        name=plan.name,
        raw_bytes=plan.variable.nbytes,
        bytes=writer.bytes(),
        stated=plan.limit.stated.words,
        bound=plan.limit.words,
        chunks=plan.chunks,
        n_chunks=writer.total,
        new_chunks=new,
        exact_chunks=writer.exact,
        periodic=plan.periodic,
        seconds=spent[0] + time.perf_counter() - start,
        cpu_seconds=spent[1] + cpu,
    )
