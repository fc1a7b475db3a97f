"""Paths on the command line: a run folder, the folder of one method in it, or a network."""

from __future__ import annotations

from pathlib import Path

from szilard.errors import SzilardError
from szilard.run import settings
from szilard.run.folder import MethodFolder, RunFolder


def finished_networks(path: Path, method: str | None = None) -> list[MethodFolder]:
    """The folders of the finished networks of a run, in the order of its methods.

    Args:
        method: the only one to return.

    Raises:
        SzilardError: the path is no run, or no network has finished.
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
