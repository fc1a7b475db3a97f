"""Write a dataset as netCDF, zarr or ``.npy``, chunk by chunk; what is written has its name when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard import atomic
from szilard.cli.fields.plain import BOUND
from szilard.errors import SzilardError, first_line, printable

if TYPE_CHECKING:
    import xarray as xr

_DEFLATE = 4  # level; higher ones take long and give little
_LEAST_FREE = 1 << 20  # bytes on a disk that is not full


_Writer = Callable[
    ["xr.Dataset", Path, Path, int], None
]  # of a dataset, to a temporary path, named as a path, in threads


def writer_of(out: Path) -> _Writer:
    """The function that writes the format of a path's ending.

    Raises:
        SzilardError: the ending is of none.
    """
    found = _WRITERS.get(out.suffix.lower())
    if found is None:
        raise SzilardError(f"{out} has an ending of no known format; end it in .nc, .zarr or .npy")
    return found


def write(dataset: xr.Dataset, out: Path, workers: int | None) -> None:
    """Write a dataset; a path that is there is replaced at the end.

    Args:
        dataset: lazy; with a single variable for ``.npy``.
        out: its ending chooses the format.
        workers: threads that decode; None: one for each core, at most four.

    Raises:
        SzilardError: the disk is full, or the format cannot hold the dataset; nothing is then there, or what was.
    """
    import dask

    from szilard.fields.blocks import workers_of

    written, threads = writer_of(out), workers_of(workers)
    # The pool is shut down before the temporary files are removed, so that no thread writes one afterwards.
    with (
        _replacing(out) as temporary,
        ThreadPoolExecutor(threads) as pool,
        dask.config.set(scheduler="threads", pool=pool),
    ):
        try:
            written(dataset, temporary, out, threads)
        except SzilardError:
            raise
        except OSError as error:
            raise atomic.refusal(out, error) from error
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            if (
                shutil.disk_usage(out.absolute().parent).free < _LEAST_FREE
            ):  # HDF5 tells no number of an error
                raise atomic.refusal(out, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error
            raise SzilardError(f"{out} could not be written ({first_line(error)})") from error


@contextlib.contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A temporary path beside a path, which takes its name at the end of the block and is removed after an error."""
    atomic.sweep(out.absolute().parent, out.name)
    temporary = out.with_name(f".{out.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    old = out.with_name(f"{temporary.name}.replaced")
    try:
        yield temporary
        try:
            if out.is_dir() and not out.is_symlink():
                os.replace(out, old)
            os.replace(temporary, out)
            atomic.sync_folder(out.absolute().parent)
        except OSError as error:
            raise atomic.refusal(out, error) from error
    finally:
        for left in (temporary, old):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _netcdf(dataset: xr.Dataset, temporary: Path, out: Path, workers: int) -> None:
    import importlib.util

    if importlib.util.find_spec("netCDF4") is None:
        raise SzilardError("netCDF files need netCDF4; install it with: pip install 'szilard[field]'")
    deflated = {name: _deflated(one) for name, one in dataset.variables.items() if BOUND in one.attrs}
    dataset.to_netcdf(temporary, mode="w", engine="netcdf4", format="NETCDF4", encoding=deflated)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())


def _deflated(variable: xr.Variable) -> dict[str, Any]:
    """How netCDF stores a variable that was coded: deflated, in the chunks of the store."""
    found: dict[str, Any] = {"zlib": True, "complevel": _DEFLATE}
    if variable.chunks:
        found["chunksizes"] = tuple(max(1, one[0]) for one in variable.chunks)
    return found


def _zarr(dataset: xr.Dataset, temporary: Path, out: Path, workers: int) -> None:
    dataset.to_zarr(temporary, mode="w", zarr_format=3, consolidated=True)


def _npy(dataset: xr.Dataset, temporary: Path, out: Path, workers: int) -> None:
    import numpy as np

    from szilard.fields import blocks

    names = [str(name) for name in dataset.data_vars]
    if len(names) != 1:
        shown = ", ".join(printable(name, 60) for name in names[:20]) or "none"
        raise SzilardError(f"{out} can hold one variable, and there are {shown}; choose one with --variable")
    variable = dataset.variables[names[0]]
    if variable.dtype.kind not in "fiub":
        raise SzilardError(
            f"{printable(names[0])} is {variable.dtype}, which a .npy file cannot hold; choose .nc"
        )
    lengths = (
        [max(1, one[0]) for one in variable.chunks]
        if variable.chunks
        else [max(1, n) for n in variable.shape]
    )
    array = np.lib.format.open_memmap(temporary, mode="w+", dtype=variable.dtype, shape=variable.shape)
    _reserve(temporary)

    def job(place: tuple[int, ...], block: np.ndarray) -> None:
        array[tuple(slice(at * n, (at + 1) * n) for at, n in zip(place, lengths, strict=True))] = block

    blocks.each(job, [blocks.lazy(variable, lengths)], list(blocks.places(variable.shape, lengths)), workers)
    array.flush()


def _reserve(path: Path) -> None:
    """Take the space of a file, so that a full disk is an error here and does not end the process at a later value."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


_WRITERS: dict[str, _Writer] = {".nc": _netcdf, ".nc4": _netcdf, ".zarr": _zarr, ".npy": _npy}
