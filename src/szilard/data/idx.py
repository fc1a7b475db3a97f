"""The idx format of the MNIST files (http://yann.lecun.com/exdb/mnist), of unsigned bytes, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard.errors import SzilardError

_MOST_BYTES = 1 << 32  # a header that asks for more is damaged


def read_idx(path: Path) -> Tensor:
    """The uint8 array of an idx file: two zero bytes, type 8, rank, sizes (big-endian), values.

    Raises:
        SzilardError: the file is no idx file of bytes, is cut short, or holds more than it says.
    """
    try:
        with open(path, "rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or not 1 <= magic[3] <= 3:
                raise SzilardError(f"{path} is not an idx file of bytes; fetch the original again")
            header = file.read(4 * magic[3])
            shape = tuple(int(size) for size in np.frombuffer(header[: len(header) // 4 * 4], ">u4"))
            expected = math.prod(shape)
            if len(shape) != magic[3] or expected > _MOST_BYTES:
                raise _cut_short(path)
            values = file.read(expected)
            if len(values) < expected:
                raise _cut_short(path)
            if file.read(1):
                raise SzilardError(f"{path} holds more bytes than its header says; fetch the original again")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _cut_short(path) from error
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror or error}; check the file") from error
    return (
        torch.frombuffer(bytearray(values), dtype=torch.uint8).view(shape)
        if values
        else torch.empty(shape).byte()
    )


def _cut_short(path: Path) -> SzilardError:
    return SzilardError(f"{path} is cut short or damaged; fetch the original again")
