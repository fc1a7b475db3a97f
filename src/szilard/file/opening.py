"""Opening untrusted files, and the messages of files that cannot be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from szilard.file import sections
from szilard.file.error import Broken, SzilardFileError, printable
from szilard.file.source import FileSource, Source

T = TypeVar("T")


def open_file(path: str | Path, use: Callable[[Source], T]) -> T:
    """Call ``use`` with a file's bytes; errors name the file.

    Raises:
        SzilardFileError: the file does not exist, cannot be read, does not begin as a ``.szd`` file, or ``use`` finds
            it broken.
    """
    path = Path(os.fsdecode(path))
    shown = printable(str(path))
    try:
        with _opened(path) as file:
            return as_file_error(shown, lambda: _checked(file, use))
    except (OSError, ValueError) as error:  # a ValueError is a zero byte in the path
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise SzilardFileError(f"{shown} does not exist; name a .szd file") from error
        reason = printable(getattr(error, "strerror", None) or str(error))
        raise SzilardFileError(f"{shown} cannot be read ({reason}); check the file") from error


def _opened(path: Path) -> BinaryIO:
    """Open an ordinary file for reading; a pipe would block, and a device has no end."""
    if path.is_dir():
        raise SzilardFileError(f"{printable(str(path))} is a folder; name a .szd file")
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise SzilardFileError(f"{printable(str(path))} is a pipe or a device; copy it to a file first")
        return cast(BinaryIO, os.fdopen(number, "rb", buffering=0))
    except BaseException:
        os.close(number)
        raise


def _checked(file: BinaryIO, use: Callable[[Source], T]) -> T:
    source = FileSource(file, 0, os.fstat(file.fileno()).st_size)
    sections.check_magic(source.take(0, min(len(source), len(sections.MAGIC))))
    return use(source)


def as_file_error(what: str, use: Callable[[], T]) -> T:
    """Run ``use`` and convert its :class:`Broken` to a :class:`SzilardFileError` with a sentence about ``what``."""
    try:
        return use()
    except Broken as error:
        hint = "" if "; " in str(error) else "; download or copy it again"
        raise SzilardFileError(f"{what} cannot be opened: {error}{hint}") from error
    except MemoryError as error:
        raise SzilardFileError(
            f"{what} cannot be opened: its tensors need more memory than there is; open it on a machine with more"
        ) from error
