"""Where stores are: local folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import zarr

from szilard.errors import SzilardError, first_line, printable

_FORMAT_2 = (".zgroup", ".zarray", ".zmetadata")
_SHOWN = 20  # names in a message


def folder_of(given: Any) -> Path:
    """A path; raises for what is none, such as a store object of zarr."""
    if not isinstance(given, str | os.PathLike):
        raise SzilardError(
            f"a store of fields is a local folder, not {type(given).__name__}; give the path of one"
        )
    return Path(given)


def arrays_of(folder: Path) -> dict[str, Any]:
    """The arrays of a store in zarr format 3 by name; its chunks are not read.

    Raises:
        SzilardError: it is no such store, it is damaged, or it has no array.
    """
    if not (folder / "zarr.json").is_file() and any((folder / name).is_file() for name in _FORMAT_2):
        raise SzilardError(
            f"{folder} is a store in zarr format 2, and szilard writes format 3; open it with xarray or zarr"
        )
    try:
        group = zarr.open_group(folder, mode="r", zarr_format=3, use_consolidated=False)
        arrays, groups = dict(sorted(group.arrays())), sorted(group.group_keys())
    except SzilardError:
        raise
    except Exception as error:  # zarr raises what its parsers of JSON happen to raise
        raise SzilardError(f"{folder} is not a zarr store that can be read ({first_line(error)})") from error
    if groups and not arrays:
        raise SzilardError(only_groups(folder, groups, f"such as {folder / groups[0]}"))
    return arrays


def only_groups(path: Path, groups: list[str], advice: str) -> str:
    """A sentence for a file or store without variables.

    Args:
        path: of it.
        groups: at its root.
        advice: how to name a group of it.
    """
    more = f" and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
    shown = ", ".join(printable(name, 60) for name in groups[:_SHOWN]) + more
    return f"{path} has no variables at its root, but the groups {shown}; name one of them, {advice}"
