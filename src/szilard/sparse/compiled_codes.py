"""The operators of solvers for sparse codes by the C++ kernels (``csrc/solve/solve.h``): float32 on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.kernels.arguments import expect


def shrink(
    x: Tensor,
    gradient: Tensor,
    scale: Tensor,
    previous: Tensor | None,
    momentum: Tensor | None,
    threshold: Tensor,
    passing: Tensor | None,
    *,
    wants_passed: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As :func:`szilard.sparse.portable.shrink`."""
    batch, n = x.shape
    expect((batch, n), x=x, gradient=gradient)
    expect((batch,), scale=scale, threshold=threshold)
    moving = previous is not None and momentum is not None
    if previous is not None and momentum is not None:
        expect((batch, n), previous=previous)
        expect((batch,), momentum=momentum)
        previous, momentum = previous.contiguous(), momentum.contiguous()
    if passing is not None:
        if passing.shape != (batch,) or passing.dtype != torch.int64 or not passing.is_cpu:
            raise SzilardError(
                f"passing must be an int64 tensor of shape {(batch,)} on the CPU, not {tuple(passing.shape)} "
                f"{passing.dtype} on {passing.device}"
            )
        passing = passing.contiguous()
    # Named, so that copies live until the call returns.
    x, gradient, scale, threshold = (
        x.contiguous(),
        gradient.contiguous(),
        scale.contiguous(),
        threshold.contiguous(),
    )
    result, counts, norms = x.new_empty(batch, n), x.new_empty(batch), x.new_empty(batch)
    passed = x.new_empty((batch, n) if wants_passed and passing is not None else (0,), dtype=torch.bool)
    if not n:  # an empty array has no address
        return result, counts.zero_(), norms.zero_(), passed
    status = native.library().szilard_shrink(
        batch, n, x.data_ptr(), gradient.data_ptr(), scale.data_ptr(), _pointer(previous if moving else None),
        _pointer(momentum if moving else None), threshold.data_ptr(), _pointer(passing), result.data_ptr(), batch * n,
        counts.data_ptr(), batch, norms.data_ptr(), batch, passed.data_ptr() or None, passed.numel(),
        torch.get_num_threads(),
    )  # fmt: skip
    native.check(status, "shrink")
    return result, counts, norms, passed


def event_product(x: Tensor, rows: Tensor) -> Tensor:
    """As :func:`szilard.sparse.ops.shrinkage.event_product`."""
    (batch, n), m = x.shape, rows.shape[1]
    expect((batch, n), x=x)
    expect((n, m), rows=rows)
    x, rows = x.contiguous(), rows.contiguous()
    y = x.new_empty(batch, m)
    status = native.library().szilard_event_product(
        batch, n, m, x.data_ptr(), rows.data_ptr(), y.data_ptr(), batch * m, torch.get_num_threads()
    )
    native.check(status, "event_product")
    return y


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
