"""The types that a tensor in a file can have, by their PyTorch names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from szilard.file.error import SzilardFileError


@dataclass(frozen=True)
class DType:
    """A type of tensor entries.

    Attributes:
        code: its number in a file; never given to another type.
        name: PyTorch's, "float32".
        carrier: the little-endian numpy type of its bytes. numpy has no bfloat16 and no floats of 8 or 4 bits: their
            bits are stored as unsigned integers.
        holds_levels: whether quantised values can be of this type.
    """

    code: int
    name: str
    carrier: np.dtype
    holds_levels: bool = False

    @property
    def borrowed(self) -> bool:
        """Whether the carrier is a different type of the same size."""
        return self.carrier.name != self.name

    @property
    def size(self) -> int:
        """Bytes of one entry."""
        return self.carrier.itemsize


TYPES = tuple(
    DType(code, name, np.dtype(carrier), name in ("float16", "bfloat16", "float32", "float64"))
    for code, (name, carrier) in enumerate(
        [
            ("float32", "<f4"),
            ("float16", "<f2"),
            ("bfloat16", "<u2"),
            ("float64", "<f8"),
            ("int64", "<i8"),
            ("int32", "<i4"),
            ("int16", "<i2"),
            ("int8", "i1"),
            ("uint8", "u1"),
            ("bool", "?"),
            ("complex64", "<c8"),
            ("complex128", "<c16"),
            ("uint16", "<u2"),
            ("uint32", "<u4"),
            ("uint64", "<u8"),
            ("float8_e4m3fn", "u1"),
            ("float8_e5m2", "u1"),
            ("float8_e4m3fnuz", "u1"),
            ("float8_e5m2fnuz", "u1"),
            ("float8_e8m0fnu", "u1"),
            ("float4_e2m1fn_x2", "u1"),  # two entries in a byte; shapes count bytes, as in PyTorch
        ]
    )
)
BY_NAME = {dtype.name: dtype for dtype in TYPES}


def named(name: str) -> DType:
    """The type of a PyTorch name.

    Raises:
        SzilardFileError: a file cannot store it.
    """
    if name not in BY_NAME:
        raise SzilardFileError(
            f"a .szd file cannot store tensors of type {name}; convert them to one of {_all()}"
        )
    return BY_NAME[name]


def from_float32(values: np.ndarray, dtype: DType) -> np.ndarray:
    """float32 values in a floating type, rounded to nearest, ties to even; of bfloat16 the bits as uint16."""
    if dtype.name != "bfloat16":
        return values.astype(dtype.carrier, copy=False)
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    # Add one less than half a unit, and one more if the kept part is odd: it carries exactly if the value rounds up.
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").reshape(values.shape)


def all_finite(values: np.ndarray, dtype: DType) -> bool:
    """Whether no entry of a tensor of a floating type, in its carrier, is infinite or NaN."""
    if dtype.name == "bfloat16":
        return not bool((values & 0x7F80 == 0x7F80).any())
    return bool(np.isfinite(values).all())


def _all() -> str:
    return ", ".join(dtype.name for dtype in TYPES)
