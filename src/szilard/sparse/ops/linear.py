"""Operators for linear maps with a sparse weight: ``[B, I]`` to ``[B, O]``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.kernels.operator import define
from szilard.kernels.transforms import differentiable_once
from szilard.sparse import compiled, differentiable, portable
from szilard.sparse.ops.given_values import deterministic
from szilard.sparse.ops.implementation import INDEX, implementation, not_a_view
from szilard.sparse.support import Index

# -- implementations ------------------------------------------------------------------------------------


def _linear(x: Tensor, values: Tensor, *index: Tensor) -> Tensor:
    return not_a_view(implementation(x).linear(x, values, Index(*index)))


def _linear_backward(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return implementation(x).linear_backward(grad, x, values, Index(*rest[:5]), rest[5])


def _lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, bias: Tensor | None, key: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    products, index, relu = implementation(x), Index(*rest[:5]), rest[5]
    if products is compiled:
        y, factor, variance = compiled.lrt_linear(x, mean, log_std, bias, key, index, relu)
        return not_a_view(y), factor, variance
    y, factor, variance = products.lrt_linear(x, mean, log_std, key, index)
    return not_a_view(portable.add_bias(y, bias, relu)), factor, variance


def _lrt_linear_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, y: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    products, index, relu, wants_x = implementation(x), Index(*rest[:5]), rest[5], rest[6]
    if products is compiled:
        return compiled.lrt_linear_backward(grad, x, mean, variance, factor, y, index, relu, wants_x)
    grad = portable.past_relu(grad, y) if relu else grad
    return *products.lrt_linear_backward(grad, x, mean, variance, factor, index, wants_x), grad.sum(0)


# -- shapes and strides, for torch.compile and torch.export ---------------------------------------------


def _major_like(x: Tensor, features: int | torch.SymInt) -> Tensor:
    return x.new_empty(features, x.shape[0]).t()  # feature-major, as every implementation returns it


def _linear_fake(x: Tensor, values: Tensor, crow: Tensor, *rest: Any) -> Tensor:
    return _major_like(x, crow.numel() - 1)


def _lrt_linear_fake(
    x: Tensor, mean: Tensor, log_std: Tensor, bias: Tensor | None, key: Tensor, crow: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    rows = crow.numel() - 1
    return _major_like(x, rows), _major_like(x, rows), torch.empty_like(mean)


def _linear_backward_fake(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _major_like(x, x.shape[1]) if rest[-1] else x.new_empty(0, 0), torch.empty_like(values)


def _lrt_linear_backward_fake(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, y: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grads = _linear_backward_fake(grad, x, mean, *rest)
    return *grads, torch.empty_like(mean), x.new_empty(rest[0].numel() - 1)


# -- gradients ------------------------------------------------------------------------------------------


def _local_linear(draw: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> type[torch.autograd.Function]:
    """The Function of local reparametrisation, with arguments (x, mean, log_std, bias, key, *index, relu)."""

    class Local(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
            x, mean, _, bias, _, *index, ctx.relu = arguments
            y, factor, variance = draw(*arguments)
            ctx.bias = bias is not None
            # The backward pass reads y only after a ReLU; otherwise y is not saved, so in-place writes are allowed.
            ctx.save_for_backward(x, mean, variance, factor, y if ctx.relu else factor, *index)
            ctx.mark_non_differentiable(factor, variance)
            ctx.set_materialize_grads(False)
            return y, factor, variance

        @staticmethod
        @differentiable_once(differentiable.LOCAL)
        def backward(ctx: Any, grad: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
            if grad is None:  # y was not used
                return (None,) * 11
            wants_x = ctx.needs_input_grad[0]
            grad_x, grad_mean, grad_log_std, grad_bias = lrt_linear_backward(
                grad, *ctx.saved_tensors, ctx.relu, wants_x
            )
            first = grad_x if wants_x else None
            return first, grad_mean, grad_log_std, grad_bias if ctx.bias else None, *[None] * 7

    return Local


# -- the operators --------------------------------------------------------------------------------------

#: Gradients of :data:`sparse_linear` for x (empty if not needed) and for the values.
sparse_linear_backward = define(
    f"sparse_linear_backward(Tensor grad, Tensor x, Tensor values, {INDEX}, bool wants_x) -> (Tensor, Tensor)",
    _linear_backward,
    _linear_backward_fake,
)

#: ``x [B, I]`` times the transpose of a sparse ``[O, I]`` weight: ``[B, O]``.
sparse_linear = define(
    f"sparse_linear(Tensor x, Tensor values, {INDEX}) -> Tensor",
    _linear,
    _linear_fake,
    partial(deterministic, sparse_linear_backward),
)

#: Outputs drawn by local reparametrisation, with bias and optional ReLU; ε / (2 s), both ``[B, O]``; and σ² ``[nnz]``.
lrt_linear = define(
    "lrt_linear(Tensor x, Tensor mean, Tensor log_std, Tensor? bias, Tensor key, "
    f"{INDEX}, bool relu) -> (Tensor, Tensor, Tensor)",
    _lrt_linear,
    _lrt_linear_fake,
    _local_linear,
)

#: Gradients of :data:`lrt_linear` for x (empty if not needed), mean, log_std and bias.
lrt_linear_backward = define(
    "lrt_linear_backward(Tensor grad, Tensor x, Tensor mean, Tensor variance, Tensor factor, Tensor y, "
    f"{INDEX}, bool relu, bool wants_x) -> (Tensor, Tensor, Tensor, Tensor)",
    _lrt_linear_backward,
    _lrt_linear_backward_fake,
)


# -- cost: multiply and add counted as two, existing entries only ---------------------------------------


@register_flop_formula(torch.ops.szilard.sparse_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 2 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.lrt_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 4 * x[0] * values[0]
