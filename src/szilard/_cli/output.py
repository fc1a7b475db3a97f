"""The file that a command writes, for whom it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def told(path: Path | None) -> Iterator[None]:
    """While a command makes ``path``: an interruption says whether the file has been written.

    Args:
        path: None for standard output.
    """
    before = _stamp(path)
    try:
        yield
    except KeyboardInterrupt as stop:
        if path is None:
            stop.args = ("no file was written, and what was printed may not be all",)
        elif _stamp(path) == before:
            stop.args = (f"{path} is as it was before" if before else f"{path} was not written",)
        else:
            stop.args = (f"{path} has been written and is whole",)
        raise


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file is replaced."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
