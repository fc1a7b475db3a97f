"""The products of :mod:`szilard.sparse.ops` in plain torch: the path that runs everywhere.

Linear products run on torch's CSR kernels with activations feature-major (``[features, batch]``), where the
batch is the vector axis and unstructured sparsity is no handicap; above :data:`DENSE_FROM` a dense product
is faster and is taken. Convolutions scatter their values into a dense kernel, so here they save memory
between steps but no arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from szilard.sparse.support import flat_index, to_dense

TINY = 1e-8  # added to a variance before its root, whose slope at zero is infinite
DENSE_FROM = 0.25  # density above which torch's CSR product is slower than the dense one (measured)
GATHER = 1 << 22  # elements gathered at a time where no sampled product exists


def linear(x: Tensor, values: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    """``x [B, I] -> [B, O]``, returned as the transpose of a contiguous ``[O, B]``."""
    return (_matrix(values, crow, col, x.shape[1]) @ x.t().contiguous()).t()


def linear_transposed(grad: Tensor, values: Tensor, t_crow: Tensor, t_col: Tensor, t_perm: Tensor) -> Tensor:
    """``grad [B, O] -> [B, I]``: the product with the weight itself, from its cached transpose."""
    ordered = values.index_select(0, t_perm)
    return (_matrix(ordered, t_crow, t_col, grad.shape[1]) @ grad.t().contiguous()).t()


def linear_values_grad(grad: Tensor, x: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    """``Σ_b grad[b, i] x[b, j]`` for every existing entry (i, j): ``[nnz]``."""
    rows, cols = grad.shape[1], x.shape[1]
    left, right = grad.t().contiguous(), x.t().contiguous()
    if _is_dense(col.numel(), rows, cols):
        return _existing(left @ right.t(), crow, col)
    if _has_csr_kernels(left):
        zeros = left.new_zeros(col.numel())
        pattern = torch.sparse_csr_tensor(crow, col, zeros, size=(rows, cols), check_invariants=False)
        return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()
    flat = flat_index(crow, col, cols)
    step = max(1, GATHER // max(1, left.shape[1]))
    parts = [
        torch.linalg.vecdot(left[part // cols], right[part % cols]) for part in flat.split(step)
    ]  # in pieces: the gathered rows would be nnz x B
    return torch.cat(parts) if parts else left.new_zeros(0)


def conv(
    x: Tensor,
    values: Tensor,
    crow: Tensor,
    col: Tensor,
    shape: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    weight = to_dense(values, crow, col, shape)
    zeros = [0] * len(stride)
    return torch.ops.aten.convolution(x, weight, None, stride, padding, dilation, False, zeros, groups)


def conv_grad(
    grad: Tensor,
    x: Tensor,
    values: Tensor,
    crow: Tensor,
    col: Tensor,
    shape: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    weight = to_dense(values, crow, col, shape)
    zeros = [0] * len(stride)
    how: Any = (None, stride, padding, dilation, False, zeros, groups, [True, True, False])
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, *how)
    return grad_x, _existing(grad_weight, crow, col)


def _matrix(values: Tensor, crow: Tensor, col: Tensor, cols: int) -> Tensor:
    rows = crow.numel() - 1
    if _is_dense(col.numel(), rows, cols) or not _has_csr_kernels(values):
        return to_dense(values, crow, col, (rows, cols))
    return torch.sparse_csr_tensor(crow, col, values, size=(rows, cols), check_invariants=False)


def _existing(dense: Tensor, crow: Tensor, col: Tensor) -> Tensor:
    if col.numel() == dense.numel():
        return dense.flatten()
    return dense.flatten()[flat_index(crow, col, dense[0].numel())]


def _is_dense(nnz: int, rows: int, cols: int) -> bool:
    return nnz >= DENSE_FROM * rows * cols


def _has_csr_kernels(tensor: Tensor) -> bool:
    known = tensor.dtype in (torch.float32, torch.float64)
    return known and (tensor.is_cuda or torch.backends.mkl.is_available())
