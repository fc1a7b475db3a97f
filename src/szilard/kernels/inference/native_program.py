"""Programs of the C++ library (``csrc/inference/inference.h``): from steps to a handle."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.kernels.functions import inference
from szilard.kernels.functions.types import I32, I64
from szilard.kernels.inference.steps import Step
from szilard.kernels.inference.weights import Sparse

NAN_INPUT = 10

_STATUS = {
    1: "the row pointers of a sparse weight do not increase from 0 to its number of entries",
    2: "a column of a sparse weight is out of range, or the columns of a row are not in ascending order",
    4: "the sizes of a step do not match",
    8: "a step is unknown, or reads a value that is not there",
    9: "a weight or bias is not finite, too large for its square, or has a negative variance",
}


def make(
    batch: int, moments: bool, shape: tuple[int, int, int], steps: Sequence[Step], outputs: Sequence[int]
) -> int:
    """Handle of a program for inputs of ``shape``; ``outputs`` are distinct.

    Raises:
        SzilardError: if the library refuses a step.
        MemoryError: if there is no memory for it.
    """
    keep: list[Any] = []  # arrays that the structures point to
    array = (inference.Step * max(len(steps), 1))(*[_structure(step, keep) for step in steps])
    handle = I64(0)
    numbers = _integers(outputs, keep)
    status = native.library().szilard_program_new(
        batch, moments, *shape, len(steps), array, len(outputs), numbers, ctypes.byref(handle)
    )
    if status == 5:
        raise MemoryError("a program: not enough memory for its values or weights")
    if status:
        raise SzilardError(
            f"a program cannot be made: {_STATUS.get(status, f'unknown status {status}')}; check the weights"
        )
    return handle.value


def delete(handle: int) -> None:
    """Free a program."""
    native.library().szilard_program_free(handle)


def _structure(step: Step, keep: list[Any]) -> inference.Step:
    channels, height, width = step.shape
    (top, bottom), (left, right) = step.padding
    s = inference.Step(
        kind=step.kind, activation=step.activation, relu=step.relu, n_inputs=len(step.inputs),
        inputs=_integers(step.inputs, keep), channels=channels, height=height, width=width,
        kernel_h=step.kernel[0], kernel_w=step.kernel[1], stride_h=step.stride[0], stride_w=step.stride[1],
        dilation_h=step.dilation[0], dilation_w=step.dilation[1], pad_top=top, pad_bottom=bottom, pad_left=left,
        pad_right=right, groups=step.groups, count_padding=step.count_padding, offset=step.offset, slope=step.slope,
    )  # fmt: skip
    weight = step.weight
    if weight is not None:
        s.rows, s.cols = weight.shape[0], math.prod(weight.shape[1:])
        s.mean, s.variance = _numbers(weight.mean, keep), _numbers(weight.variance, keep)
        if isinstance(weight, Sparse):
            s.nnz = weight.mean.numel()
            s.crow, s.col = _numbers(weight.crow, keep, torch.int32), _numbers(weight.col, keep, torch.int32)
    s.bias, s.bias_variance = _numbers(step.bias, keep), _numbers(step.bias_variance, keep)
    return s


def _numbers(tensor: Tensor | None, keep: list[Any], dtype: torch.dtype = torch.float32) -> int | None:
    if tensor is None:
        return None
    plain = tensor.detach().to("cpu", dtype).contiguous()
    keep.append(plain)
    # An array without elements has no address in torch; null would mean that there is no array.
    return plain.data_ptr() or _integers((0,), keep)


def _integers(numbers: Sequence[int], keep: list[Any]) -> int:
    array = (I32 * max(len(numbers), 1))(*numbers)
    keep.append(array)
    return ctypes.addressof(array)
