"""Storages of tensors: slices of the file's bytes, and how a pickle names them."""

from __future__ import annotations

from typing import Any

import torch

from szilard.model.torch_file.refusals import Damaged, Objects

STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "UntypedStorage": torch.uint8,
}  # fmt: skip
DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
        "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
        "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
    )
    if hasattr(torch, name)
}  # fmt: skip


class Storage:
    """A storage: a slice of the file's bytes.

    Attributes:
        dtype: of its entries in the file.
        count: number of these entries.
    """

    def __init__(self, data: bytearray, dtype: torch.dtype, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.storage = (
            torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)
        )


def named(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and number of entries of a storage, from its persistent id."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] not in ("storage", b"storage"):
        raise Damaged("a storage without a name")
    dtype, key, count = pid[1], pid[2], pid[4]
    if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or type(count) is not int or count < 0:
        raise Damaged("a storage without a type")
    if len(pid) == 6 and pid[5] is not None:
        raise Objects("views of storages in an old format")
    return dtype, key, count
