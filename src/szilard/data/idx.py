"""The idx format of the MNIST files (http://yann.lecun.com/exdb/mnist), of unsigned bytes, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, cast

import torch
from torch import Tensor

from szilard import bounded
from szilard.data import limits
from szilard.errors import SzilardError

_MOST_AXES = 3
_DEFLATE = 1032  # a byte of deflate unpacks to at most this many bytes
_PIECE = 1 << 20


def read_idx(path: Path) -> Tensor:
    """The uint8 array of an idx file: two zero bytes, type 8, rank, sizes (big-endian), values.

    No more is unpacked than the header declares, and that amount is checked against the file size
    (:func:`szilard.data.limits.check`) before the first value is unpacked.

    Raises:
        SzilardError: not an idx file of bytes, truncated, longer than its header declares, or too large.
    """
    plain, size = bounded.open_file(path, "download the original again")
    try:
        with plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            if not zipped:
                return _read(path, plain, size)
            with gzip.open(plain) as file:
                return _read(path, cast(IO[bytes], file), size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _cut_short(path) from error
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror or error}; check the file") from error


def _read(path: Path, file: IO[bytes], size: int) -> Tensor:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= _MOST_AXES:
        raise SzilardError(f"{path} is not an idx file of bytes; download the original again")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise _cut_short(path)
    shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(0, len(header), 4))
    if math.prod(shape) > _DEFLATE * size:
        raise _cut_short(path)
    limits.check(path, limits.in_memory(shape, 1, image=len(shape) == _MOST_AXES), size)
    values = torch.empty(shape, dtype=torch.uint8)
    target = values.numpy().reshape(-1).data
    filled = 0
    while filled < len(target):
        piece = file.read(min(_PIECE, len(target) - filled))
        if not piece:
            raise _cut_short(path)
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
    if file.read(1):
        raise SzilardError(f"{path} has more bytes than its header declares; download the original again")
    return values


def _cut_short(path: Path) -> SzilardError:
    return SzilardError(f"{path} is truncated or damaged; download the original again")
