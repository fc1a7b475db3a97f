"""The head of a stream, and arrays that are stored as they are."""

from __future__ import annotations

import math
import zlib

import numpy as np

from szilard.codec.layout import turned
from szilard.coding import CodingError
from szilard.coding.cursor import Cursor
from szilard.coding.leb128 import encoded as varint
from szilard.errors import SzilardError

MAGIC = b"SZF1"
RAW, CODED = 0, 1
MOST_DIMENSIONS = 5
MOST_VALUES = 1 << 28  #: of an array
MOST_SLICE = 1 << 24  #: of the last two axes, whose places an encoder and a decoder list
PERIODIC, RELATIVE, MARKED, OUTSIDE, RASTER, MAPPED, BASE = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
)  #: flags; OUTSIDE: weights are elsewhere
ALL_FLAGS = 127
DTYPES = (np.dtype("<f4"), np.dtype("<f8"))


def write(shape: tuple[int, ...], dtype: np.dtype, mode: int) -> bytes:
    """The head of an array's stream."""
    return MAGIC + bytes([mode, DTYPES.index(dtype), len(shape)]) + b"".join(map(varint, shape))


def read(cursor: Cursor, most: int) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and mode; raises for more values than ``most``."""
    if cursor.take(4) != MAGIC:
        raise SzilardError("these bytes are not a field of szilard, or of a newer version")
    mode, kind, ndim = cursor.take(3)
    if mode > CODED or kind >= len(DTYPES) or not 1 <= ndim <= MOST_DIMENSIONS:
        raise CodingError("the header of the field is damaged, or of a newer version")
    shape = tuple(cursor.varint(MOST_VALUES) for _ in range(ndim))
    count = math.prod(shape)
    if too_large(shape):
        raise SzilardError(f"the field claims the shape {shape}, which is too large for this version")
    if count > most:
        raise SzilardError(f"the field claims {count:,} values, more than the {most:,} that are allowed")
    if not count and mode == CODED:
        raise CodingError("the field has bins and no values; the file is damaged")
    if slice_size(shape) > MOST_SLICE and mode == CODED:
        raise SzilardError("the field claims a slice that is too large for this version")
    return shape, DTYPES[kind], mode


def too_large(shape: tuple[int, ...]) -> bool:
    """Whether an array has too many values; axes of no length count as one."""
    return math.prod(max(length, 1) for length in shape) > MOST_VALUES


def slice_size(shape: tuple[int, ...]) -> int:
    """Values of a slice: of the two axes that are coded last."""
    return math.prod([shape[axis] for axis in turned(shape)[-2:]])


def axes_byte(axes: tuple[int, ...]) -> int:
    """Two axes, or 7 for none, of three bits each."""
    first, second = (*axes, 7, 7)[:2]
    return first | second << 3


def axes_of(byte: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Undo :func:`axes_byte` for an array of a shape."""
    found = tuple(axis for axis in (byte & 7, byte >> 3) if axis != 7)
    if (
        len(set(found)) < len(found)
        or any(axis >= len(shape) - 2 for axis in found)
        or (byte & 7 == 7 and found)
    ):
        raise CodingError("the header of the field is damaged")
    return found


def raw(array: np.ndarray) -> bytes:
    """The array as it is: bytes of equal significance together, deflated."""
    planes = array.reshape(-1).view(np.uint8).reshape(-1, array.itemsize).T
    whole = write(array.shape, array.dtype, RAW) + zlib.compress(planes.tobytes(), 6)
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def unraw(data: bytes, count: int, dtype: np.dtype) -> np.ndarray:
    """Undo :func:`raw`, without head and checksum, ``[count]``."""
    wanted = count * dtype.itemsize
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(data, wanted + 1)
    except zlib.error:
        raise CodingError("the values of the field cannot be inflated; the file is damaged") from None
    if len(found) != wanted or not inflater.eof or inflater.unused_data:
        raise CodingError("the field does not have as many values as it claims; the file is damaged")
    return (
        np.ascontiguousarray(np.frombuffer(found, np.uint8).reshape(dtype.itemsize, -1).T)
        .view(dtype)
        .reshape(-1)
    )
