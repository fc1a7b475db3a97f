"""Files of torch before 1.6: five pickles, followed by the storages."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import torch
from torch import Tensor

from szilard.model.torch_file.refusals import Damaged, Objects
from szilard.model.torch_file.storage import Storage, named
from szilard.model.torch_file.tensors import Tensors
from szilard.model.torch_file.unpickler import Unpickler

_MAGIC = 0x1950A86A20F9469CFC6C  # of files from before torch 1.6
_PROTOCOL = 1001


def read(data: bytes, lenient: bool) -> Any:
    """The object in such a file; see :func:`szilard.model.torch_file.loads`."""
    if not data.startswith(pickle.PROTO):
        raise Damaged("no pickle")
    file = io.BytesIO(data)
    if _plain(file) != _MAGIC or _plain(file) != _PROTOCOL:
        raise Damaged("no file of torch.save")
    system = _plain(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Objects("tensors of a big-endian machine")
    start = file.tell()
    wanted: dict[str, tuple[torch.dtype, int]] = {}

    def note(pid: Any) -> Storage:
        dtype, key, count = named(pid)
        wanted[key] = (dtype, count)
        return Storage(bytearray(), dtype, 0)

    # The storages come later in the file: the first pass only lists them.
    Unpickler(file, note, lenient, _Unchecked()).load()
    keys = _plain(file)
    if lenient and isinstance(keys, list) and len(keys) > len(wanted):
        raise Objects("a quantized tensor in an old format")
    if not isinstance(keys, list) or not all(key in wanted for key in keys):
        raise Damaged("storages that are not used")
    made: dict[str, Storage] = {}
    for key in keys:
        dtype, count = wanted[key]
        (declared,) = struct.unpack("<q", file.read(8))
        if declared != count or count * dtype.itemsize > len(data) - file.tell():
            raise Damaged("a truncated storage")
        made[key] = Storage(bytearray(file.read(count * dtype.itemsize)), dtype, count)
    file.seek(start)
    return Unpickler(file, lambda pid: made[named(pid)[1]], lenient).load()


class _Unchecked(Tensors):
    """Empty tensors, for reading a pickle only to list its storages."""

    def view(self, storage: Storage, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> Tensor:
        return torch.empty(0, dtype=dtype)


def _plain(file: io.BytesIO) -> Any:
    """A pickle without tensors."""

    def none(pid: Any) -> Storage:
        raise Damaged("an unexpected tensor")

    return Unpickler(file, none).load()
