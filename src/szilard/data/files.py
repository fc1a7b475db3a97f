"""Search paths for data files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from szilard.errors import SzilardError


class MissingFiles(SzilardError):
    """The files of a known data set were not found."""


def data_root(root: str | Path | None) -> Path:
    """The folder of data sets: the argument, or $SZILARD_DATA, or ~/.cache/szilard."""
    return path_of(root or os.environ.get("SZILARD_DATA") or "~/.cache/szilard")


def path_of(name: str | Path) -> Path:
    """A path with ``~`` expanded.

    Raises:
        SzilardError: the home folder is not known.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise SzilardError(f"the home folder in {name} is not known; write the path in full") from error


def squash(name: str) -> str:
    """Normalised spelling: fashion-mnist, Fashion_MNIST and FashionMNIST become the same."""
    return "".join(c for c in name.lower() if c.isalnum())


def candidates(root: Path, names: Sequence[str], *, itself: bool) -> list[Path]:
    """Folders that can contain a data set, most likely first.

    Args:
        root: the folder of data sets, or the folder of this set.
        names: of the set's folder, the preferred one first.
        itself: whether ``root`` can be the set's own folder under any name. False for out-of-distribution sets:
            MNIST-like sets share their file names, and such a set must not be the data set itself. It is searched next
            to ``root`` instead, in case ``root`` is the data set's own folder.
    """
    found = [root / name for name in names]
    wanted = {squash(name) for name in names}
    for folder in (root,) if itself else (root, root.parent):
        if folder.is_dir():
            siblings = (child for child in sorted(folder.iterdir()) if child.is_dir())
            found += [child for child in siblings if squash(child.name) in wanted and child not in found]
    if itself or squash(root.name) in wanted:
        found.append(root)
    return found


def find(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of ``names`` that exists in the first folder that has one."""
    for folder in folders:
        for name in names:
            if os.path.isfile(
                folder / name
            ):  # False where Path.is_file raises: names too long, folders not readable
                return folder / name
    return None


def missing(what: str, folder: Path, file: str, *, fetchable: bool = False) -> MissingFiles:
    """The exception for a data set whose files were not found."""
    fetch = ", or install torchvision and use download=True" if fetchable else ""
    return MissingFiles(
        f"{what} was not found: {file} is expected in {folder}; put it there, "
        f"give another data folder with root= or $SZILARD_DATA{fetch}"
    )
