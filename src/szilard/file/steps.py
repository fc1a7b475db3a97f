"""The steps and scales of quantised tensors: powers of two in fractions of an octave, as exact float32 constants.

A file stores small integers as codes. A table of constants and an exact power of two convert them to numbers, not
``pow`` of a library, so that every machine gets the same bits.
"""

from __future__ import annotations

import math

import numpy as np

from szilard.file.error import SzilardFileError

#: 2^(j/16) for j = 0 ... 15, rounded to float32; bit patterns.
MANTISSAS = (
    *(0x3F800000, 0x3F85AAC3, 0x3F8B95C2, 0x3F91C3D3, 0x3F9837F0, 0x3F9EF532, 0x3FA5FED7, 0x3FAD583F),
    *(0x3FB504F3, 0x3FBD08A4, 0x3FC5672A, 0x3FCE248C, 0x3FD744FD, 0x3FE0CCDF, 0x3FEAC0C7, 0x3FF5257D),
)
LOWEST, HIGHEST = -126 * 16, 127 * 16 + 15  #: codes of steps; every step is a normal float32

_TABLE = np.array(MANTISSAS, np.uint32).view(np.float32)
_CODES = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32)
_SCALES = np.ldexp(_TABLE[_CODES % 8 * 2], _CODES // 8)  # by the bits of the code


def value(code: int) -> np.float32:
    """The step 2^(code/16)."""
    return np.float32(np.ldexp(_TABLE[code % 16], code // 16))


def nearest(step: float) -> int:
    """The code whose step is nearest to a positive number, in logarithm.

    Raises:
        SzilardFileError: the number is not positive, or outside the range of float32.
    """
    code = round(16 * math.log2(step)) if step > 0 and math.isfinite(step) else LOWEST - 1
    if not LOWEST <= code <= HIGHEST:
        raise SzilardFileError(f"a step must be a positive normal float32, not {step}; scale the tensor")
    return code


def scales(codes: np.ndarray) -> np.ndarray:
    """Row or column scales 2^(code/8), float32 ``[n]``, of int8 codes ``[n]``."""
    return _SCALES[codes.astype(np.int64) & 255]


def nearest_scales(factors: np.ndarray) -> np.ndarray:
    """The int8 codes whose scales are nearest to positive factors ``[n]``, in logarithm; clamped at about 2^±16."""
    return np.clip(np.rint(8 * np.log2(factors)), -128, 127).astype(np.int8)
