"""Paths on the command line: a run folder, the folder of one method in it, or a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from szilard.cli.known_methods import listed
from szilard.errors import SzilardError
from szilard.run import settings
from szilard.run.folder import MethodFolder, RunFolder


class Chosen(NamedTuple):
    """One network of a path: its file, and how it was chosen if the path has several and the user named none."""

    file: Path
    note: str

    def tell(self, notify: Callable[[str], None]) -> None:
        """Say how it was chosen, if there was a choice; to be called before the answer is printed."""
        if self.note:
            notify(self.note)


def chosen_network(path: Path, method: str | None) -> Chosen:
    """A file itself, or the network of one method of a run, by default the first.

    Args:
        path: a file, a run folder, or the folder of one method in it.
        method: the user's choice, or None.

    Raises:
        SzilardError: as :func:`network_files`.
    """
    first, *others = network_files(path, method)
    names = [file.parent.name for file in (first, *others)]
    return Chosen(
        first,
        f"{path} has networks of {listed(names, 'and')}: this is the one of {names[0]}; choose another with --method"
        if others
        else "",
    )


def network_files(path: Path, method: str | None = None) -> list[Path]:
    """The files of all networks that a path names, or that of one method.

    Raises:
        SzilardError: as :func:`finished_networks`, or a method for a file that is no network of a run.
    """
    if path.is_file():
        if method is None:
            return [path]
        if path.name != "network.pt":
            raise SzilardError(f"{path} is one network and not a run folder; leave --method out")
    return [folder.network for folder in finished_networks(path, method)]


def finished_networks(path: Path, method: str | None = None) -> list[MethodFolder]:
    """The folders of the finished networks of a run, in the order of its methods.

    Args:
        method: the only one to return.

    Raises:
        SzilardError: the path is no run, no network has finished, or the path is the network of another method.
    """
    if path.is_file() and path.name == "network.pt":
        path = path.parent
    if not path.is_dir():
        what = (
            f"{path} is not a file or folder of szilard"
            if path.exists()
            else f"there is no run or file {path}"
        )
        raise SzilardError(
            f"{what}; name a folder that szilard fit has written, a network.pt, a .szd file, or a file of weights"
        )
    if MethodFolder(path).network.is_file():
        if method is not None and path.resolve().name != method:
            raise SzilardError(
                f"{path} is the network of {path.resolve().name!r}, not of {method!r}; leave --method out, or name the "
                "run folder"
            )
        return [MethodFolder(path)]
    found = run_folder(path)
    done = [found.method(name) for name in methods_in_order(found) if found.method(name).network.is_file()]
    if method is not None:
        chosen = [folder for folder in done if folder.path.name == method]
        if not chosen:
            names = ", ".join(folder.path.name for folder in done) or "none"
            raise SzilardError(f"the run {path} has no finished network of {method!r}; it has {names}")
        return chosen
    if not done:
        raise SzilardError(
            f"no network of the run {path} has finished; go on with szilard fit --out {path} --resume"
        )
    return done


def run_folder(path: Path) -> RunFolder:
    """A run folder.

    Raises:
        SzilardError: the path is no run folder.
    """
    folder = RunFolder(path)
    if not folder.in_use:
        what = "is not a run folder" if path.exists() else "does not exist"
        raise SzilardError(f"{path} {what}; name a folder that szilard fit has written, with run.toml in it")
    return folder


def methods_in_order(folder: RunFolder) -> list[str]:
    """Names of the methods of a run, in the order of its run.toml."""
    if folder.settings.is_file():
        return list(settings.read(folder.settings).methods)
    return folder.methods()
