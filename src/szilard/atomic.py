"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from szilard.errors import SzilardError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def write(path: Path, content: bytes) -> None:
    """Replace ``path`` by a file of ``content`` in one step: a reader, a kill or a power cut sees old or new.

    The bytes go to a temporary file in the same folder and to the disk before the name changes hands.

    Raises:
        SzilardError: the disk is full or the folder cannot be written to; ``path`` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise refusal(path, error) from error


def append(path: Path, line: str) -> None:
    """Add a line to a text file and send it to the disk.

    Raises:
        SzilardError: as :func:`write`.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise refusal(path, error) from error


def make_folder(path: Path) -> None:
    """Create a folder and those above it.

    Raises:
        SzilardError: it cannot be created, or a file is in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SzilardError(
            f"the folder {path} cannot be made ({error.strerror or error}); name another place"
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that was killed while writing here."""
    for temporary in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Send a folder's list of names to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refusal(path: Path, error: OSError) -> SzilardError:
    """What to tell a user about a file that could not be written."""
    if error.errno in _FULL:
        return SzilardError(
            f"the disk is full: {path} could not be written and is as it was before; make room and run it again"
        )
    return SzilardError(
        f"{path} could not be written ({error.strerror or error}) and is as it was before; "
        "make the folder writable or name another one"
    )
