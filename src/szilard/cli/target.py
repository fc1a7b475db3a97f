"""What a path on the command line stands for: a run, a method's folder in it, or a network."""

from __future__ import annotations

from pathlib import Path

from szilard.errors import SzilardError
from szilard.run import settings
from szilard.run.folder import MethodFolder, RunFolder


def finished(path: Path, method: str | None = None) -> list[MethodFolder]:
    """The finished networks behind a path, in the order of the run.

    Args:
        method: only this one.

    Raises:
        SzilardError: nothing is there, or nothing has finished.
    """
    if path.is_file() and path.name == "network.pt":
        path = path.parent
    if not path.is_dir():
        what = f"{path} is no file that can be read" if path.exists() else f"there is no run or file {path}"
        raise SzilardError(
            f"{what}; name a folder that szilard fit has written, a network.pt, a .szd file, or a file of weights"
        )
    if MethodFolder(path).network.is_file():
        return [MethodFolder(path)]
    found = run(path)
    done = [found.method(name) for name in order(found) if found.method(name).network.is_file()]
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


def run(path: Path) -> RunFolder:
    """A run folder.

    Raises:
        SzilardError: the path is none.
    """
    folder = RunFolder(path)
    if not folder.in_use:
        what = "is not a run folder" if path.is_dir() else "does not exist"
        raise SzilardError(f"{path} {what}; name a folder that szilard fit has written, with run.toml in it")
    return folder


def order(folder: RunFolder) -> list[str]:
    """Names of the run's methods as they were asked for."""
    if folder.settings.is_file():
        return list(settings.read(folder.settings).methods)
    return folder.methods()
