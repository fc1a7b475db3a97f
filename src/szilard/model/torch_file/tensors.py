"""Tensors on storages of a file, each checked to be inside its storage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from szilard.model.torch_file.refusals import Damaged, Objects
from szilard.model.torch_file.storage import Storage

MOST_VIEW = 64 << 20  #: bytes by which expanded views can exceed their storages, in total
MOST_DIMENSIONS = 64  # of a tensor, as in torch


class Tensors:
    """The tensors of one file.

    Attributes:
        repeated: bytes by which their expanded views exceed their storages, in total.
    """

    def __init__(self) -> None:
        self.repeated = 0

    def tensor(
        self,
        storage: Storage,
        offset: int,
        size: Any,
        stride: Any,
        _grad: Any = False,
        _hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        """What ``torch._utils._rebuild_tensor_v2`` makes; a damaged file can give it anything."""
        return _lazily(self.view(storage, storage.dtype, offset, size, stride), metadata)

    def tensor_of_type(
        self,
        storage: Storage,
        offset: int,
        size: Any,
        stride: Any,
        _grad: Any,
        _hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Tensor:
        """The same with a type that is not the storage's, as ``_rebuild_tensor_v3``."""
        if not isinstance(dtype, torch.dtype):
            raise Damaged("a tensor without a type")
        return _lazily(self.view(storage, dtype, offset, size, stride), metadata)

    def view(self, storage: Storage, dtype: torch.dtype, offset: int, size: Any, stride: Any) -> Tensor:
        """A tensor on a storage; raises if any entry is outside it."""
        if not isinstance(size, tuple | list) or not isinstance(stride, tuple | list):
            raise Damaged("a tensor of impossible shape")
        if len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
            raise Damaged("a tensor of impossible shape")
        if any(type(n) is not int or not 0 <= n < 1 << 62 for n in (offset, *size, *stride)):
            raise Damaged("a tensor of impossible shape")
        count = 1
        for n in size:
            count *= n
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        held = storage.storage.nbytes() // dtype.itemsize
        if count and last >= held:
            raise Damaged("a tensor that is larger than its storage")
        if max((*size, *stride, offset, count), default=0) >= 1 << 62:
            raise Damaged("a tensor of impossible shape")
        self.repeated += max(0, count - held) * dtype.itemsize
        if self.repeated > MOST_VIEW:
            raise Objects("an expanded view; save a copy of it, made with .clone()")
        return torch.empty(0, dtype=dtype).set_(storage.storage, offset, size, stride)


def parameter(data: Any, *_: Any) -> Tensor:
    """The tensor of an ``nn.Parameter``."""
    if not isinstance(data, Tensor):
        raise Damaged("a parameter that is not a tensor")
    return data


def _lazily(tensor: Tensor, metadata: Any) -> Tensor:
    """A tensor, as a lazily conjugated or negated view if its metadata request that."""
    if metadata is None:
        return tensor
    if not isinstance(metadata, dict) or not set(metadata) <= {"conj", "neg"}:
        raise Objects("a tensor with unknown properties")
    if metadata.get("conj"):
        if not tensor.is_complex():
            raise Damaged("a conjugated tensor of real numbers")
        tensor = tensor.conj()
    return torch._neg_view(tensor) if metadata.get("neg") else tensor
