"""Where files are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from szilard.errors import SzilardError


class MissingFiles(SzilardError):
    """A known set whose files are not here."""


def data_root(root: str | Path | None) -> Path:
    """The folder of data sets: the argument, else $SZILARD_DATA, else ~/.cache/szilard."""
    return path_of(root or os.environ.get("SZILARD_DATA") or "~/.cache/szilard")


def path_of(name: str | Path) -> Path:
    """A path, with the home folder in place of ``~``.

    Raises:
        SzilardError: the home folder is of nobody known here.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise SzilardError(f"the home folder in {name} is not known; write the path in full") from error


def squash(name: str) -> str:
    """One spelling for fashion-mnist, Fashion_MNIST and FashionMNIST."""
    return "".join(c for c in name.lower() if c.isalnum())


def candidates(root: Path, names: Sequence[str], *, itself: bool) -> list[Path]:
    """Folders in which a set may lie, most likely first.

    Args:
        root: the folder of data sets, or the set's own folder.
        names: of the set's folder, the preferred one first.
        itself: whether ``root`` may be the set's own folder under any name. Not for an OOD partner:
            MNIST-like sets share their file names, and a partner must not turn out to be the set itself.
            A partner is looked for beside ``root`` instead, in case that is the set's own folder.
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
            ):  # False, where Path.is_file raises: names too long, folders closed
                return folder / name
    return None


def missing(what: str, folder: Path, file: str, *, fetchable: bool = False) -> MissingFiles:
    """The sentence for a set that is not here."""
    fetch = ", or install torchvision and ask for the download" if fetchable else ""
    return MissingFiles(
        f"{what} is not here: {file} is expected in {folder}; put it there, "
        f"name another folder of data with root or $SZILARD_DATA{fetch}"
    )
