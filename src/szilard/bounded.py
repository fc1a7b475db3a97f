"""Reads untrusted files, but only ordinary files up to a maximum size."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from szilard.errors import SzilardError

_BINARY = getattr(os, "O_BINARY", 0)  # exists on Windows only
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # do not wait for a pipe without a writer


def open_file(path: Path, advice: str) -> tuple[BinaryIO, int]:
    """An ordinary file, open for reading, and its size in bytes.

    Args:
        advice: end of the error message: what to do.

    Raises:
        SzilardError: the file does not exist, is a folder, a pipe or a device, or is not readable.
    """
    try:
        handle = os.open(path, os.O_RDONLY | _BINARY | _AT_ONCE)
    except FileNotFoundError as error:
        raise SzilardError(f"{path} does not exist; {advice}") from error
    except OSError as error:
        raise SzilardError(f"{path} cannot be read ({error.strerror or error}); {advice}") from error
    except ValueError as error:  # a zero byte in the name
        raise SzilardError(f"{path} is not a valid file name; {advice}") from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise SzilardError(f"{path} is {what} and not a file; {advice}")
    return open(handle, "rb"), found.st_size


def read(path: Path, most: int, advice: str) -> bytes:
    """The content of a file of at most ``most`` bytes.

    Raises:
        SzilardError: as :func:`open_file`, or the file is larger.
    """
    file, size = open_file(path, advice)
    with file:
        try:
            content = b"" if size > most else file.read(most + 1)
        except OSError as error:
            raise SzilardError(f"{path} cannot be read ({error.strerror or error}); {advice}") from error
    if size > most or len(content) > most:
        raise SzilardError(
            f"{path} has {max(size, len(content)):,} bytes, more than the maximum of {most:,}; {advice}"
        )
    return content
