"""npz archives of plain arrays: sizes are checked before anything is unpacked, and no pickle is opened."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import torch
from torch import Tensor

from szilard import bounded
from szilard.data import limits
from szilard.data.npy import Header, NotPlain, Objects, read_header, read_values
from szilard.errors import SzilardError, shortened

_ADVICE = "give an .npz file made with numpy.savez"
_MOST_DIRECTORY = 1 << 20  # bytes; about ten thousand arrays
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
_ENCRYPTED = 1
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, NotImplementedError, OverflowError,
           zipfile.BadZipFile, zlib.error)  # fmt: skip


class Archive:
    """The arrays of an npz file, read one by one.

    All headers are read first. The file is refused if its arrays together would take more memory than
    :func:`szilard.data.limits.check` allows, or overlap in the file.

    Args:
        path: of the file.

    Attributes:
        headers: header of each array; for arrays that cannot be read, the reason.

    Raises:
        SzilardError: missing, not an archive, or too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.headers: dict[str, Header | NotPlain] = {}
        file, self.size = bounded.open_file(path, _ADVICE)
        self._file = _Directory(file)
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._file.most = None
            self._look()
        except BaseException as error:
            file.close()
            if isinstance(error, _DAMAGE):
                raise self._damaged() from error
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises:
            SzilardError: it is damaged, or has anything but numbers and text.
        """
        header = self.headers[name]
        try:
            if isinstance(header, NotPlain):
                raise header
            with self._zip.open(self._entries[name]) as member:
                read_header(member)
                return read_values(member, header)
        except NotPlain as error:
            raise self._refused(name, error) from error
        except _DAMAGE as error:
            raise self._damaged() from error

    def _look(self) -> None:
        entries = [entry for entry in self._zip.infolist() if entry.filename.endswith(".npy")]
        self._entries = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        if len(self._entries) < len(entries) or sum(entry.compress_size for entry in entries) > self.size:
            raise zipfile.BadZipFile("entries with the same name, or overlapping entries")
        for name, entry in self._entries.items():
            self.headers[name] = self._header(entry)
        found = [header for header in self.headers.values() if isinstance(header, Header)]
        limits.check(self.path, sum(header.memory for header in found), self.size)

    def _header(self, entry: zipfile.ZipInfo) -> Header | NotPlain:
        if entry.compress_type not in _KINDS or entry.flag_bits & _ENCRYPTED:
            return NotPlain("is encrypted, or compressed in a way that NumPy does not use")
        try:
            with self._zip.open(entry) as member:
                header = read_header(member)
        except NotPlain as error:
            return error
        except _DAMAGE:
            return NotPlain("is damaged")
        if header.bytes + header.data_bytes != entry.file_size:
            return NotPlain("is truncated, or has more bytes than its header declares")
        return header

    def _refused(self, name: str, error: NotPlain) -> SzilardError:
        shown = shortened(name, 80)
        if isinstance(error, Objects):
            return SzilardError(
                f"array {shown} of {self.path} has Python objects, which are not loaded because they can run code; "
                "save it as plain numbers or strings"
            )
        return SzilardError(f"array {shown} of {self.path} {error}; write it again with numpy.savez")

    def _damaged(self) -> SzilardError:
        return SzilardError(
            f"{self.path} is truncated, damaged or not an npz archive; write it again with numpy.savez"
        )


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive, without unpickling anything.

    Raises:
        SzilardError: missing, truncated, not an archive, too large, or an array of Python objects.
    """
    with Archive(path) as archive:
        return {name: archive.read(name) for name in archive.headers}


def to_tensor(array: np.ndarray, what: str) -> Tensor:
    """A contiguous tensor of uint8, int64 (also for booleans), float32 or float64, sharing the array's memory if
    possible."""
    if array.dtype == np.uint8:
        kind: type = np.uint8
    elif array.dtype.kind in "iub":
        kind = np.int64
    elif array.dtype.kind == "f":
        kind = np.float64 if array.dtype.itemsize >= 8 else np.float32
    else:
        raise SzilardError(f"{what} has type {array.dtype}, not numbers; save it as numbers")
    return torch.from_numpy(np.require(array, kind, ["C", "W"]))


class _Directory(io.BufferedIOBase):
    """A file whose single reads are limited to ``most`` bytes, unless ``most`` is None.

    :mod:`zipfile` reads the archive's directory in one piece, of a length that the file declares, and makes an object
    for each entry. Without a limit, a file can take many times its size before the first array is read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.most: int | None = _MOST_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        wanted = -1 if size is None else size
        if self.most is not None and not 0 <= wanted <= self.most:
            wanted = self.most + 1
        content = self._file.read(wanted)
        if self.most is not None and len(content) > self.most:
            raise zipfile.BadZipFile("its directory is too long")
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
