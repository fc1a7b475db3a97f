"""The head of a stream, and arrays that are stored as they are."""

from __future__ import annotations

import zlib

import numpy as np

from szilard.codec.reader import Reader
from szilard.coding import CodingError
from szilard.coding.leb128 import encoded as varint
from szilard.errors import SzilardError

MAGIC = b"SZF0"  # 0: the format may still change
RAW, CODED = 0, 1
MOST_DIMENSIONS = 5
DTYPES = (np.dtype("<f4"), np.dtype("<f8"))


def write(array: np.ndarray, mode: int) -> bytes:
    """The head of an array's stream."""
    dims = b"".join(map(varint, array.shape))
    return MAGIC + bytes([mode, DTYPES.index(array.dtype), array.ndim]) + dims


def read(reader: Reader, most: int) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and mode; raises for more values than ``most``."""
    if reader.take(4) != MAGIC:
        raise SzilardError("these bytes are not a field of szilard, or of a newer version")
    mode, kind, ndim = reader.take(3)
    if mode > CODED or kind >= len(DTYPES) or not 1 <= ndim <= MOST_DIMENSIONS:
        raise CodingError("the header of the field is damaged, or of a newer version")
    shape = tuple(reader.varint(most) for _ in range(ndim))
    count = 1
    for length in shape:
        count *= length
    if count > most:
        raise SzilardError(f"the field claims {count:,} values, more than the {most:,} that are allowed")
    return shape, DTYPES[kind], mode


def raw(array: np.ndarray) -> bytes:
    """The array as it is: bytes of equal significance together, deflated."""
    planes = array.reshape(-1).view(np.uint8).reshape(-1, array.itemsize).T
    whole = write(array, RAW) + zlib.compress(planes.tobytes(), 6)
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def unraw(reader: Reader, count: int, dtype: np.dtype) -> np.ndarray:
    """Undo :func:`raw`, after the head, ``[count]``."""
    wanted = count * dtype.itemsize
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(reader.take(reader.end - reader.at), wanted + 1)
    except zlib.error:
        raise CodingError("the values of the field cannot be inflated; the file is damaged") from None
    if len(data) != wanted or not inflater.eof or inflater.unused_data:
        raise CodingError("the field does not have as many values as it claims; the file is damaged")
    return (
        np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1).T)
        .view(dtype)
        .reshape(-1)
    )
