"""Products with a sparse weight, as custom operators over plain tensors.

An operator takes the values of the existing entries and the five arrays of their
:class:`~szilard.sparse.support.Index`; no sparse-layout tensor crosses its border, so ``torch.compile``,
``torch.export`` and autograd see ordinary tensors. This file declares the operators, their shapes, their
gradients and their cost; what runs is in :mod:`szilard.sparse.portable`.

Local reparametrisation (Kingma, Salimans and Welling 2015): with weights N(μ, σ²) independent, the output
of a linear map of x is Gaussian, so one draws outputs instead of weights:

    y = x μᵀ + sqrt(v + tiny) ∘ ε,   v = (x∘x)(σ∘σ)ᵀ,   ε ~ N(0, 1) for each output.

With g = ∂L/∂y and h = g∘ε / (2 sqrt(v + tiny)), summed over the batch and over existing entries only,

    ∂L/∂μ_ij = Σ_b g_bi x_bj,   ∂L/∂log σ_ij = 2 σ_ij² Σ_b h_bi x_bj²,
    ∂L/∂x_bj = Σ_i g_bi μ_ij + 2 x_bj Σ_i h_bi σ_ij².

A convolution draws its noise for each output position apart, which ignores that positions share weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.sparse import portable

TINY = portable.TINY


@torch.library.custom_op("szilard::sparse_linear", mutates_args=())
def sparse_linear(
    x: Tensor, values: Tensor, crow: Tensor, col: Tensor, t_crow: Tensor, t_col: Tensor, t_perm: Tensor
) -> Tensor:
    """``x [B, I]`` times the transpose of a sparse ``[O, I]`` weight: ``[B, O]``."""
    return portable.linear(x, values, crow, col)


@torch.library.custom_op("szilard::sparse_linear_backward", mutates_args=())
def sparse_linear_backward(
    grad: Tensor,
    x: Tensor,
    values: Tensor,
    crow: Tensor,
    col: Tensor,
    t_crow: Tensor,
    t_col: Tensor,
    t_perm: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`sparse_linear` for ``x`` and for ``values``."""
    return (
        portable.linear_transposed(grad, values, t_crow, t_col, t_perm),
        portable.linear_values_grad(grad, x, crow, col),
    )


@torch.library.custom_op("szilard::lrt_linear", mutates_args=())
def lrt_linear(
    x: Tensor,
    mean: Tensor,
    log_std: Tensor,
    noise: Tensor,
    crow: Tensor,
    col: Tensor,
    t_crow: Tensor,
    t_col: Tensor,
    t_perm: Tensor,
) -> tuple[Tensor, Tensor]:
    """Outputs drawn by local reparametrisation and their standard deviation, both ``[B, O]``."""
    std = portable.linear(x.square(), (2 * log_std).exp(), crow, col).add_(TINY).sqrt_()
    return portable.linear(x, mean, crow, col).addcmul_(std, noise), std


@torch.library.custom_op("szilard::lrt_linear_backward", mutates_args=())
def lrt_linear_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    log_std: Tensor,
    noise: Tensor,
    std: Tensor,
    crow: Tensor,
    col: Tensor,
    t_crow: Tensor,
    t_col: Tensor,
    t_perm: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`lrt_linear` for ``x``, ``mean`` and ``log_std``."""
    variance = (2 * log_std).exp()
    twice_h = grad * noise / std
    grad_x = portable.linear_transposed(grad, mean, t_crow, t_col, t_perm)
    grad_x.addcmul_(x, portable.linear_transposed(twice_h, variance, t_crow, t_col, t_perm))
    grad_mean = portable.linear_values_grad(grad, x, crow, col)
    grad_log_std = portable.linear_values_grad(twice_h, x.square(), crow, col) * variance
    return grad_x, grad_mean, grad_log_std


@torch.library.custom_op("szilard::sparse_conv", mutates_args=())
def sparse_conv(
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
    """Convolution (1-d or 2-d, by ``shape``) of ``x [B, C, *size]`` with a sparse ``[O, C/groups, *kernel]``."""
    return portable.conv(x, values, crow, col, shape, stride, padding, dilation, groups)


@torch.library.custom_op("szilard::sparse_conv_backward", mutates_args=())
def sparse_conv_backward(
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
    """Gradients of :func:`sparse_conv` for ``x`` and for ``values``."""
    return portable.conv_grad(grad, x, values, crow, col, shape, stride, padding, dilation, groups)


@torch.library.custom_op("szilard::lrt_conv", mutates_args=())
def lrt_conv(
    x: Tensor,
    mean: Tensor,
    log_std: Tensor,
    noise: Tensor,
    crow: Tensor,
    col: Tensor,
    shape: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Tensor, Tensor]:
    """Outputs drawn by local reparametrisation at each position, and their standard deviation."""
    how = (crow, col, shape, stride, padding, dilation, groups)
    std = portable.conv(x.square(), (2 * log_std).exp(), *how).add_(TINY).sqrt_()
    return portable.conv(x, mean, *how).addcmul_(std, noise), std


@torch.library.custom_op("szilard::lrt_conv_backward", mutates_args=())
def lrt_conv_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    log_std: Tensor,
    noise: Tensor,
    std: Tensor,
    crow: Tensor,
    col: Tensor,
    shape: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`lrt_conv` for ``x``, ``mean`` and ``log_std``."""
    how = (crow, col, shape, stride, padding, dilation, groups)
    variance = (2 * log_std).exp()
    grad_x, grad_mean = portable.conv_grad(grad, x, mean, *how)
    half_grad, grad_variance = portable.conv_grad(grad * noise / std, x.square(), variance, *how)
    return grad_x.addcmul_(x, half_grad), grad_mean, grad_variance * variance


# -- shapes, for torch.compile and torch.export ---------------------------------------------------------


def _linear_shape(x: Tensor, crow: Tensor) -> Tensor:
    return x.new_empty(crow.numel() - 1, x.shape[0]).t()  # feature-major, as every path returns it


def _conv_shape(
    x: Tensor, shape: list[int], stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Tensor:
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], shape[2:], stride, padding, dilation, strict=True)
    ]
    return x.new_empty(x.shape[0], shape[0], *size)


@sparse_linear.register_fake
def _(x: Tensor, values: Tensor, crow: Tensor, *rest: Any) -> Tensor:
    return _linear_shape(x, crow)


@lrt_linear.register_fake
def _(
    x: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor, crow: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    return _linear_shape(x, crow), _linear_shape(x, crow)


@sparse_linear_backward.register_fake
def _(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[1], x.shape[0]).t(), torch.empty_like(values)


@lrt_linear_backward.register_fake
def _(grad: Tensor, x: Tensor, mean: Tensor, log_std: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape[1], x.shape[0]).t(), torch.empty_like(mean), torch.empty_like(log_std)


@sparse_conv.register_fake
def _(x: Tensor, values: Tensor, crow: Tensor, col: Tensor, *how: Any) -> Tensor:
    return _conv_shape(x, *how)


@lrt_conv.register_fake
def _(
    x: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor, crow: Tensor, col: Tensor, *how: Any
) -> tuple[Tensor, Tensor]:
    return _conv_shape(x, *how), _conv_shape(x, *how)


@sparse_conv_backward.register_fake
def _(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(values)


@lrt_conv_backward.register_fake
def _(grad: Tensor, x: Tensor, mean: Tensor, log_std: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(mean), torch.empty_like(log_std)


# -- gradients ------------------------------------------------------------------------------------------


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors = [i for i in inputs if isinstance(i, Tensor)]
    ctx.rest = [i for i in inputs if not isinstance(i, Tensor)]
    ctx.std = isinstance(output, tuple)
    ctx.save_for_backward(*tensors, *(output[1:] if ctx.std else ()))


def _deterministic_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, values, *index = ctx.saved_tensors
    op = sparse_conv_backward if ctx.rest else sparse_linear_backward
    grads = op(grad, x, values, *index, *ctx.rest)
    return *grads, *[None] * (len(index) + len(ctx.rest))


def _lrt_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    x, mean, log_std, noise, *index, std = ctx.saved_tensors
    op = lrt_conv_backward if ctx.rest else lrt_linear_backward
    grads = op(grad, x, mean, log_std, noise, std, *index, *ctx.rest)
    return *grads, *[None] * (1 + len(index) + len(ctx.rest))


sparse_linear.register_autograd(_deterministic_backward, setup_context=_save_inputs)
sparse_conv.register_autograd(_deterministic_backward, setup_context=_save_inputs)
lrt_linear.register_autograd(_lrt_backward, setup_context=_save_inputs)
lrt_conv.register_autograd(_lrt_backward, setup_context=_save_inputs)


# -- cost: multiply and add counted as two, existing entries only ---------------------------------------


@register_flop_formula(torch.ops.szilard.sparse_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 2 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.lrt_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 4 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.sparse_conv)
def _(x: torch.Size, values: torch.Size, *rest: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * out_shape[0] * math.prod(out_shape[2:]) * values[0]


@register_flop_formula(torch.ops.szilard.lrt_conv)
def _(x: torch.Size, values: torch.Size, *rest: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 4 * out_shape[0][0] * math.prod(out_shape[0][2:]) * values[0]
