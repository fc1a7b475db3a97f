"""safetensors files: a JSON header, and the bytes of dense tensors.

The safetensors library checks the header. The bytes are then read here, so that all PyTorch types can be read and
memory is bounded by the size of the file.
"""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from szilard import bounded, plain_json
from szilard.errors import SzilardError
from szilard.file.error import SzilardFileError, printable
from szilard.file.state import copied

MOST_HEADER = 32 << 20  #: bytes of a header; an entry takes about a hundred
METADATA = "__metadata__"
_MOST_DIMENSIONS = 64  # of a tensor, as in PyTorch
_PACKED = "F4"  # two entries per byte; shapes in PyTorch count bytes, shapes in the file count entries
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu", _PACKED: "float4_e2m1fn_x2",
}  # fmt: skip
_AGAIN = "download or make it again"


def load(path: Path) -> tuple[OrderedDict[str, Tensor], dict[str, str]]:
    """Tensors by name on the CPU, in the order of the header, and the metadata.

    Raises:
        SzilardFileError: missing, truncated, damaged, or with a type that PyTorch does not have.
    """
    try:
        file, size = bounded.open_file(path, "give a .safetensors file")
    except SzilardError as error:
        raise SzilardFileError(str(error)) from error
    with file:
        start, header = _header(path, file, size)
        tensors: OrderedDict[str, Tensor] = OrderedDict()
        for name, entry in header.items():
            if name != METADATA:
                tensors[name] = _tensor(path, file, start, size, name, entry)
    metadata = header.get(METADATA, {})
    return tensors, metadata if isinstance(metadata, dict) else {}


def dumps(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file: tensors in their own types, and a copy of each tied tensor.

    Raises:
        SzilardFileError: a type or a name that a safetensors file cannot hold.
    """
    for name, tensor in state.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if kind not in _TYPES.values():
            raise SzilardFileError(
                f"a .safetensors file cannot hold {printable(name)[:200]}, which is {kind}; write a .pt file instead"
            )
        if name == METADATA or not _is_text(name):
            raise SzilardFileError(
                f"a .safetensors file cannot hold a tensor with the name {printable(name)[:200]!r}; write a .pt file "
                "instead"
            )
    plain = {name: copied(value) for name, value in state.items()}
    try:
        return safetensors.torch.save(plain, dict(metadata) or None)
    except (KeyError, ValueError, SafetensorError) as error:
        raise SzilardFileError(
            f"the safetensors library cannot write these tensors ({printable(str(error))[:100]}); write a .pt file "
            "instead"
        ) from error


def _header(path: Path, file: BinaryIO, size: int) -> tuple[int, dict[str, Any]]:
    """Offset of the first tensor's bytes, and the header's entries."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size - 8:
            raise SzilardFileError(
                f"{path} is truncated: its header should have {length:,} bytes and the file has {size:,}; {_AGAIN}"
            )
        if length > MOST_HEADER:
            raise SzilardFileError(
                f"{path} has a header of {length:,} bytes, and at most {MOST_HEADER:,} are read; split it into "
                "several files"
            )
        header = plain_json.loads(file.read(length))
        with safe_open(path, "pt"):  # the library checks that tensors are contiguous and fill the file
            pass
    except struct.error as error:
        raise SzilardFileError(f"{path} is truncated: it has {size} bytes; {_AGAIN}") from error
    except SzilardFileError:
        raise
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        shown = printable(str(error).strip() or type(error).__name__)[:120]
        raise SzilardFileError(
            f"{path} is a safetensors file that is truncated or damaged ({shown}); {_AGAIN}"
        ) from error
    if not isinstance(header, dict):
        raise SzilardFileError(
            f"{path} is a damaged safetensors file: its header is not a JSON object; {_AGAIN}"
        )
    return 8 + length, header


def _tensor(path: Path, file: BinaryIO, start: int, size: int, name: str, entry: Any) -> Tensor:
    kind, shape, (begin, end) = entry["dtype"], list(entry["shape"]), entry["data_offsets"]
    dtype = getattr(torch, _TYPES.get(kind, "?"), None)
    if dtype is None:
        raise SzilardFileError(
            f"{path} has {printable(name)[:200]} as {printable(str(kind))[:20]}, a type that PyTorch does not have; "
            "convert it with the program that wrote it"
        )
    if kind == _PACKED:
        if not shape or shape[-1] % 2:
            raise SzilardFileError(
                f"{path} has {printable(name)[:200]} with an odd number of 4-bit floats per row, which PyTorch does "
                "not support; convert it with the program that wrote it"
            )
        shape[-1] //= 2
    count = math.prod(shape) * dtype.itemsize
    possible = len(shape) <= _MOST_DIMENSIONS and math.prod(max(side, 1) for side in shape) < 1 << 60
    if not possible or not 0 <= begin <= end <= size - start or end - begin != count:
        raise SzilardFileError(
            f"{path} has an impossible shape or size for {printable(name)[:200]}; {_AGAIN}"
        )
    data = torch.empty(count, dtype=torch.uint8)
    file.seek(start + begin)
    if count and file.readinto(data.numpy()) != count:  # type: ignore[attr-defined]
        raise SzilardFileError(f"{path} was truncated while it was read; {_AGAIN}")
    if dtype == torch.bool and count and int(data.max()) > 1:
        raise SzilardFileError(
            f"{path} has {printable(name)[:200]} as bool with entries other than 0 and 1; {_AGAIN}"
        )
    return data.view(dtype).reshape(shape)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
