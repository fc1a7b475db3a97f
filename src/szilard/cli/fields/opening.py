"""Open what the commands for fields read: netCDF files, zarr stores and ``.npy`` arrays, without reading values."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from szilard.errors import SzilardError, first_line, printable

if TYPE_CHECKING:
    import xarray as xr

_ZARR = ("zarr.json", ".zgroup", ".zmetadata")
_NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")
_NPY = b"\x93NUMPY"
_EXTRA = "install it with: pip install 'szilard[field]'"
ARRAY = "data"  #: name of the variable of a ``.npy`` file


def is_store(path: Path) -> bool:
    """Whether a path is a folder that looks like a zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in _ZARR)


def check_there(path: Path) -> None:
    """Raise if a path that may name a store is not there, or is a write that is not finished.

    Raises:
        SzilardError: that is so.
    """
    if not path.exists() and path.suffix == ".zarr":
        raise SzilardError(f"{path} does not exist; name a store that szilard encode has written")
    if path.name.endswith(".unfinished") and (path / "lock").is_file():
        raise SzilardError(
            f"{path} is a write that is not finished; type the same szilard encode command with --resume"
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[xr.Dataset]:
    """The dataset of a file or store; its values are read when they are used.

    Raises:
        SzilardError: nothing is there, it is of another kind or damaged, or a package is missing.
    """
    found = _open(path)
    try:
        _check_root(path, found)
        yield found
    finally:
        found.close()


def _check_root(path: Path, found: xr.Dataset) -> None:
    """Raise if all variables are in groups."""
    names = [] if found.variables else groups(path)
    if names:
        from szilard.fields.places import only_groups

        advice = (
            f"such as {path / names[0]}" if is_store(path) else "as a file of its own (ncks -G : -g GROUP)"
        )
        raise SzilardError(only_groups(path, names, advice))


def bounded(dataset: xr.Dataset) -> list[str]:
    """Names of the variables of a store that have a bound."""
    from szilard.fields import ZarrField

    return [
        str(name)
        for name, variable in dataset.variables.items()
        if isinstance(variable.encoding.get("serializer"), ZarrField)
    ]


def groups(path: Path) -> list[str]:
    """Names of the groups in a netCDF file or zarr store that :func:`opened` leaves out."""
    if is_store(path):
        import zarr

        return sorted(zarr.open_group(path, mode="r").group_keys())
    if path.suffix != ".npy" and _starts(path).startswith(_NETCDF):
        import netCDF4

        with netCDF4.Dataset(path) as file:
            return sorted(file.groups)
    return []


def _open(path: Path) -> xr.Dataset:
    import szilard.fields  # noqa: F401  # it names a package that is missing

    if is_store(path):
        return _by_xarray(path, "zarr")
    start = _starts(path)
    if start.startswith(_NPY):
        return _array(path)
    if start.startswith(_NETCDF):
        if importlib.util.find_spec("netCDF4") is None:
            raise SzilardError(f"netCDF files need netCDF4; {_EXTRA}")
        return _by_xarray(path, "netcdf4")
    what = "a GRIB file; convert it to netCDF first" if start.startswith(b"GRIB") else ""
    raise SzilardError(f"{path} is {what or 'not a netCDF file, a zarr store or a .npy array'}")


def _starts(path: Path) -> bytes:
    check_there(path)
    if path.is_dir():
        raise SzilardError(f"{path} is a folder, but not a zarr store with groups; name a store or a file")
    try:
        with path.open("rb") as file:
            return file.read(8)
    except FileNotFoundError:
        raise SzilardError(
            f"there is no file {path}; name a netCDF file, a zarr store or a .npy array"
        ) from None
    except (OSError, ValueError) as error:
        raise SzilardError(f"{path} cannot be read ({first_line(error)})") from error


def _by_xarray(path: Path, engine: str) -> xr.Dataset:
    import xarray as xr

    try:
        # No chunks: the writer lays its own over the file, so that no chunk of the file's is held longer than needed.
        # Durations stay numbers, which can have a bound.
        return xr.open_dataset(path, engine=engine, chunks=None, cache=False, decode_timedelta=False)
    except SzilardError:
        raise
    except Exception as error:  # damaged files raise what the libraries' parsers happen to raise
        raise SzilardError(f"{path} cannot be opened ({first_line(error)}); it may be damaged") from error


def _array(path: Path) -> xr.Dataset:
    import numpy as np
    import xarray as xr

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SzilardError(f"{path} is not a .npy file of numbers ({first_line(error)})") from error
    if array.dtype.kind not in "fiubc":
        raise SzilardError(f"{path} holds {printable(str(array.dtype))}, not numbers")
    return xr.Dataset({ARRAY: ([f"dim_{n}" for n in range(array.ndim)], array)})
