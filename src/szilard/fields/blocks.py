"""Variables of a dataset as lazy blocks, and a job for each block in several threads."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import dask
import dask.array as da
import numpy as np
import xarray as xr

T = TypeVar("T")
_MOST_WORKERS = 4  # each takes about 250 MB for chunks of the usual size


def lazy(variable: xr.Variable, chunks: Sequence[int]) -> da.Array:
    """A variable as an array of Dask with chunks of this shape; nothing is read.

    Args:
        variable: in memory, of a file that is open, or of Dask.
        chunks: lengths, one for each dimension.
    """
    sizes = dict(zip(variable.dims, chunks, strict=True))
    if isinstance(variable._data, da.Array):
        return variable._data.rechunk(tuple(chunks))
    # A name of its own: by default Dask would hash all values for one.
    return variable.chunk(sizes, name=f"field-{uuid.uuid4().hex}").data


def lazy_as(
    variable: xr.Variable, dims: Sequence[Any], shape: Sequence[int], chunks: Sequence[int]
) -> da.Array:
    """A variable of some of these dimensions, repeated along the others.

    Args:
        variable: its dimensions are among ``dims``.
        dims: of the result.
        shape: of the result.
        chunks: of the result.
    """
    lengths = dict(zip(dims, chunks, strict=True))
    own = variable.transpose(*[dim for dim in dims if dim in variable.dims])
    array = lazy(own, [min(lengths[dim], size) or 1 for dim, size in zip(own.dims, own.shape, strict=True)])
    index = tuple(slice(None) if dim in own.dims else None for dim in dims)
    grid = da.core.normalize_chunks(tuple(chunks), tuple(shape))
    return da.broadcast_to(array[index], tuple(shape), chunks=grid).rechunk(grid)


def places(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Place of every chunk in the grid of chunks, in the order of an array."""
    yield from itertools.product(*(range(-(-n // c)) for n, c in zip(shape, chunks, strict=True)))


def each(
    job: Callable[..., T], arrays: Sequence[da.Array], wanted: Sequence[tuple[int, ...]], workers: int
) -> list[T]:
    """``job(place, *blocks)`` for blocks of arrays with equal chunks; source blocks are read once and dropped early.

    Args:
        job: called in several threads at once.
        arrays: with the same chunks.
        wanted: places of the blocks.
        workers: threads.
    """
    given = [array.to_delayed() for array in arrays]
    call = dask.delayed(job, pure=False)
    tasks = [call(place, *(one[place] for one in given)) for place in wanted]
    options: dict[str, Any] = {"scheduler": "threads", "num_workers": workers}
    if workers == 1:
        options = {"scheduler": "synchronous"}
    return list(dask.compute(*tasks, **options))


def workers_of(workers: int | None) -> int:
    """Threads: those that are wanted, or one for each core, at most four."""
    if workers is not None:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores))


def padded(block: np.ndarray, chunks: Sequence[int]) -> np.ndarray:
    """A block at the end of an axis, repeated at its edge up to the shape of a whole chunk."""
    if block.shape == tuple(chunks):
        return block
    widths = [(0, length - size) for size, length in zip(block.shape, chunks, strict=True)]
    return np.pad(block, widths, mode="edge")
