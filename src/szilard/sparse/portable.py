"""The products of :mod:`szilard.sparse.ops` in plain torch, which run everywhere and are the reference in tests.

Linear products use torch's CSR kernels with activations feature-major (``[features, batch]``): the batch is the vector
axis, so unstructured sparsity wastes no vector lanes. Above :data:`DENSE_FROM` a dense product is faster and is used.
Convolutions scatter their values into a dense kernel, so here they save memory between steps but no arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from szilard.kernels.geometry import Convolution
from szilard.sparse.support import Index, flat_index, to_dense

TINY = 1e-8  # added to a variance before its root, whose slope at zero is infinite
DENSE_FROM = 0.25  # density above which torch's CSR product is slower than the dense one (measured)
GATHER = 1 << 22  # elements gathered at a time if there is no sampled product

_MASK = (1 << 63) - 1


def normal(key: Tensor, shape: list[int], like: Tensor) -> Tensor:
    """Standard normal tensor: a function of ``key`` (seed, draw) and the kind of device."""
    seed, draw = key.tolist()
    generator = torch.Generator(like.device).manual_seed((seed ^ draw * 0x9E3779B97F4A7C15) & _MASK)
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


# -- linear ---------------------------------------------------------------------------------------------


def linear(x: Tensor, values: Tensor, index: Index) -> Tensor:
    """``x [B, I] -> [B, O]``, returned as the transpose of a contiguous ``[O, B]``."""
    return (_matrix(values, index.crow, index.col, x.shape[1]) @ x.t().contiguous()).t()


def linear_backward(
    grad: Tensor, x: Tensor, values: Tensor, index: Index, wants_x: bool
) -> tuple[Tensor, Tensor]:
    grad_x = _linear_transposed(grad, values, index) if wants_x else x.new_empty(0, 0)
    return grad_x, _linear_grad_values(grad, x, index)


def lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, index: Index
) -> tuple[Tensor, Tensor, Tensor]:
    noise = normal(key, [index.crow.numel() - 1, x.shape[0]], x).t()  # feature-major, like the product
    return lrt_linear_with(x, mean, log_std, noise, index)


def lrt_linear_with(
    x: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor, index: Index
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`lrt_linear` with given noise ``[B, O]``."""
    variance = (2 * log_std).exp()
    std = linear(x.square(), variance, index).add_(TINY).sqrt_()
    return linear(x, mean, index).addcmul_(std, noise), noise / (2 * std), variance


def lrt_linear_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, index: Index, wants_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    h = grad * factor
    grad_x = x.new_empty(0, 0)
    if wants_x:
        grad_x = _linear_transposed(grad, mean, index)
        grad_x.addcmul_(x, _linear_transposed(h, variance, index), value=2)
    grad_mean = _linear_grad_values(grad, x, index)
    return grad_x, grad_mean, _linear_grad_values(h, x.square(), index).mul_(variance).mul_(2)


def add_bias(y: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """``y [B, O]`` plus a bias ``[O]``, then ReLU if ``relu``; ``y`` is overwritten."""
    y = y if bias is None else y.add_(bias)
    return y.clamp_(min=0) if relu else y


def past_relu(grad: Tensor, y: Tensor) -> Tensor:
    """The gradient behind a ReLU whose output is ``y``."""
    return torch.where(y > 0, grad, 0)


def _linear_transposed(grad: Tensor, values: Tensor, index: Index) -> Tensor:
    """``grad [B, O] -> [B, I]``: the product with the weight itself, from its cached transpose."""
    ordered = values.index_select(0, index.t_perm)
    return (_matrix(ordered, index.t_crow, index.t_col, grad.shape[1]) @ grad.t().contiguous()).t()


def _linear_grad_values(grad: Tensor, x: Tensor, index: Index) -> Tensor:
    """``Σ_b grad[b, i] x[b, j]`` for every existing entry (i, j): ``[nnz]``."""
    crow, col = index.crow, index.col
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


# -- convolution ----------------------------------------------------------------------------------------


def conv(x: Tensor, values: Tensor, index: Index, how: Convolution) -> Tensor:
    how.check(x)
    weight = to_dense(values, index.crow, index.col, how.shape)
    zeros = [0] * len(how.stride)
    return torch.ops.aten.convolution(x, weight, None, *how[1:4], False, zeros, how.groups)


def conv_backward(
    grad: Tensor, x: Tensor, values: Tensor, index: Index, how: Convolution, wants_x: bool
) -> tuple[Tensor, Tensor]:
    weight = to_dense(values, index.crow, index.col, how.shape)
    zeros = [0] * len(how.stride)
    rest: Any = (None, *how[1:4], False, zeros, how.groups, [wants_x, True, False])
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(grad, x, weight, *rest)
    return grad_x if wants_x else x.new_empty(0), _existing(grad_weight, index.crow, index.col)


def lrt_conv(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, index: Index, how: Convolution
) -> tuple[Tensor, Tensor, Tensor]:
    how.check(x)
    return lrt_conv_with(x, mean, log_std, normal(key, how.out_shape(x), x), index, how)


def lrt_conv_with(
    x: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor, index: Index, how: Convolution
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`lrt_conv` with given noise of the output's shape."""
    variance = (2 * log_std).exp()
    std = conv(x.square(), variance, index, how).add_(TINY).sqrt_()
    return conv(x, mean, index, how).addcmul_(std, noise), noise / (2 * std), variance


def lrt_conv_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    factor: Tensor,
    index: Index,
    how: Convolution,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x, grad_mean = conv_backward(grad, x, mean, index, how, wants_x)
    half, grad_variance = conv_backward(grad * factor, x.square(), variance, index, how, wants_x)
    if wants_x:
        grad_x = grad_x.addcmul_(x, half, value=2)
    return grad_x, grad_mean, grad_variance.mul_(variance).mul_(2)


# -- solvers for sparse codes ---------------------------------------------------------------------------


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
    """:func:`szilard.sparse.ops.shrinkage.shrink`, and which entries passed, bool ``[B, n]`` (empty if not wanted or
    none can)."""
    v = x - scale[:, None] * gradient
    if previous is not None and momentum is not None:
        v = v + momentum[:, None] * (x - previous)
    size, bound = v.abs(), threshold[:, None]
    result, passed = torch.sign(v) * (size - bound).clamp_min(0), x.new_empty(0, dtype=torch.bool)
    if passing is not None:
        passes = (size >= bound) & (passing > 0)[:, None]
        # Samples are sorted if more entries than may pass reach the threshold; a NaN takes a place.
        many = ((~(size < bound)).sum(1) > passing) & (passing > 0)
        if many.any():
            order = size[many].argsort(dim=1, descending=True, stable=True)  # NaN first
            places = torch.arange(v.shape[1], device=v.device).expand_as(order)
            rank = torch.empty_like(order).scatter_(1, order, places)
            passes[many] &= rank < passing[many, None]
        result, passed = torch.where(passes, v, result), passes if wants_passed else passed
    return result, (result != 0).sum(1).to(x.dtype), result.abs().sum(1), passed


def event_product(x: Tensor, rows: Tensor) -> Tensor:
    return x @ rows


# -- shared ---------------------------------------------------------------------------------------------


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
