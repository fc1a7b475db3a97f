"""Arguments of kernels: addresses of tensors whose shape, type and device have been checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.errors import SzilardError


def expect(shape: Sequence[int], **tensors: Tensor) -> None:
    """Check tensors before their addresses go to a kernel, which cannot see how long they are."""
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(shape) or tensor.dtype != torch.float32 or not tensor.is_cpu:
            raise SzilardError(
                f"{name} must be a float32 tensor of shape {tuple(shape)} on the CPU, not {tuple(tensor.shape)} "
                f"{tensor.dtype} on {tensor.device}"
            )
