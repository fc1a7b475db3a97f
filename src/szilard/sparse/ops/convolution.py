"""Operators for convolutions, 1-d or 2-d, with a sparse kernel: ``[B, C, *size]`` to ``[B, O, *size]``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.kernels import dispatch
from szilard.kernels.geometry import Convolution
from szilard.kernels.layout import innermost_like
from szilard.kernels.operator import define
from szilard.kernels.transforms import differentiable_once
from szilard.sparse import compiled, differentiable
from szilard.sparse.ops.given_values import deterministic
from szilard.sparse.ops.implementation import INDEX, implementation
from szilard.sparse.support import Index

_HOW = "int[] shape, int[] stride, int[] padding, int[] dilation, int groups"

# -- implementations ------------------------------------------------------------------------------------


def _conv(x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    return implementation(x).conv(x, values, Index(*rest[:5]), Convolution(*rest[5:]))


def _conv_backward(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    how = Convolution(*rest[5:10])
    return implementation(x).conv_backward(grad, x, values, Index(*rest[:5]), how, rest[10])


def _lrt_conv(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return implementation(x).lrt_conv(x, mean, log_std, key, Index(*rest[:5]), Convolution(*rest[5:]))


def _lrt_conv_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    how = Convolution(*rest[5:10])
    return implementation(x).lrt_conv_backward(
        grad, x, mean, variance, factor, Index(*rest[:5]), how, rest[10]
    )


# -- shapes and strides, for torch.compile and torch.export ---------------------------------------------


def _conv_like(x: Tensor, nnz: int, how: Convolution) -> Tensor:
    if dispatch.implementation(x) == "cpp" and compiled.is_direct(x, nnz, how):
        return innermost_like(x, *how.out_shape(x))
    return x.new_empty(how.out_shape(x))


def _conv_grad_like(x: Tensor, nnz: int, how: Convolution, wants_x: bool) -> Tensor:
    if not wants_x:
        return x.new_empty(0)
    if dispatch.implementation(x) == "cpp" and compiled.is_direct(x, nnz, how):
        return innermost_like(x, *x.shape)
    return torch.empty_like(x)


def _conv_fake(x: Tensor, values: Tensor, *rest: Any) -> Tensor:
    return _conv_like(x, values.numel(), Convolution(*rest[5:]))


def _lrt_conv_fake(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    y = _conv_like(x, mean.numel(), Convolution(*rest[5:]))
    return y, torch.empty_like(y), torch.empty_like(mean)


def _conv_backward_fake(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    how = Convolution(*rest[5:10])
    return _conv_grad_like(x, values.numel(), how, rest[10]), torch.empty_like(values)


def _lrt_conv_backward_fake(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return *_conv_backward_fake(grad, x, mean, *rest), torch.empty_like(mean)


# -- gradients ------------------------------------------------------------------------------------------


def _local_conv(draw: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> type[torch.autograd.Function]:
    """The Function of local reparametrisation, with arguments (x, mean, log_std, key, *index, *how)."""

    class Local(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
            x, mean, _, _, *index = arguments[:9]
            ctx.how = arguments[9:]
            y, factor, variance = draw(*arguments)
            ctx.save_for_backward(x, mean, variance, factor, *index)
            ctx.mark_non_differentiable(factor, variance)
            ctx.set_materialize_grads(False)
            return y, factor, variance

        @staticmethod
        @differentiable_once(differentiable.LOCAL)
        def backward(ctx: Any, grad: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
            if grad is None:
                return (None,) * 14
            wants_x = ctx.needs_input_grad[0]
            grads = lrt_conv_backward(grad, *ctx.saved_tensors, *ctx.how, wants_x)
            return grads[0] if wants_x else None, *grads[1:], *[None] * 11

    return Local


# -- the operators --------------------------------------------------------------------------------------

#: Gradients of :data:`sparse_conv` for x (empty if not needed) and for the values.
sparse_conv_backward = define(
    f"sparse_conv_backward(Tensor grad, Tensor x, Tensor values, {INDEX}, {_HOW}, bool wants_x)"
    " -> (Tensor, Tensor)",
    _conv_backward,
    _conv_backward_fake,
)

#: Convolution (1-d or 2-d, by ``shape``) of ``x [B, C, *size]`` with a sparse ``[O, C/groups, *kernel]``.
sparse_conv = define(
    f"sparse_conv(Tensor x, Tensor values, {INDEX}, {_HOW}) -> Tensor",
    _conv,
    _conv_fake,
    partial(deterministic, sparse_conv_backward),
)

#: Outputs drawn by local reparametrisation at each position, ε / (2 s) of the same shape, and σ² ``[nnz]``.
lrt_conv = define(
    f"lrt_conv(Tensor x, Tensor mean, Tensor log_std, Tensor key, {INDEX}, {_HOW}) -> (Tensor, Tensor, Tensor)",
    _lrt_conv,
    _lrt_conv_fake,
    _local_conv,
)

#: Gradients of :data:`lrt_conv` for x (empty if not needed), mean and log_std.
lrt_conv_backward = define(
    "lrt_conv_backward(Tensor grad, Tensor x, Tensor mean, Tensor variance, Tensor factor, "
    f"{INDEX}, {_HOW}, bool wants_x) -> (Tensor, Tensor, Tensor)",
    _lrt_conv_backward,
    _lrt_conv_backward_fake,
)


# -- cost: multiply and add counted as two, existing entries only ---------------------------------------


@register_flop_formula(torch.ops.szilard.sparse_conv)
def _(x: torch.Size, values: torch.Size, *rest: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 2 * out_shape[0] * math.prod(out_shape[2:]) * values[0]


@register_flop_formula(torch.ops.szilard.lrt_conv)
def _(x: torch.Size, values: torch.Size, *rest: Any, out_shape: Any = None, **kwargs: Any) -> int:
    return 4 * out_shape[0][0] * math.prod(out_shape[0][2:]) * values[0]
