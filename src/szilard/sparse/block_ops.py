"""Operators for products with a weight of blocks on a GPU; elsewhere blocks use the general products.

The kernels are in :mod:`szilard.sparse.triton_blocks`; the equations and the meaning of ``factor`` and ``variance`` are
those of :mod:`szilard.sparse.ops`. Linear maps only: a convolution with blocks uses the general products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.kernels.dispatch import implementation
from szilard.kernels.operator import define
from szilard.kernels.transforms import differentiable_once
from szilard.sparse import differentiable
from szilard.sparse.block import Block
from szilard.sparse.support import Support

SIDES = (16, 32, 64)  # of blocks that tensor cores can multiply

_BLOCKS = (
    "Tensor crow, Tensor block_crow, Tensor block_row, Tensor block_col, Tensor block_t_crow, "
    "Tensor block_t_perm, int side"
)


def applies(support: Support, x: Tensor) -> bool:
    """Whether the product with ``x`` runs here: Triton is the implementation for ``x`` and supports this side."""
    pattern = support.pattern
    return isinstance(pattern, Block) and pattern.side in SIDES and implementation(x) == "triton"


def linear(x: Tensor, values: Tensor, support: Support) -> Tensor:
    """``x [B, I] -> [B, O]``."""
    return block_linear(x, values, *arguments(support))


def lrt_linear(x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, support: Support) -> Tensor:
    """Outputs drawn by local reparametrisation, ``[B, O]``; ``key`` is int64 ``[2]`` on the CPU, (seed, draw)."""
    return block_lrt_linear(x, mean, log_std, key, *arguments(support))[0]


def arguments(support: Support) -> tuple[Any, ...]:
    """The index of a support of blocks as arguments of the operators."""
    names = ("block_crow", "block_row", "block_col", "block_t_crow", "block_t_perm")
    pattern: Any = support.pattern
    return support.crow, *(support.get_buffer(name) for name in names), pattern.side


# -- implementations ------------------------------------------------------------------------------------


def _kernels() -> Any:
    from szilard.sparse import triton_blocks  # needs Triton

    return triton_blocks


def _linear(x: Tensor, values: Tensor, *index: Any) -> Tensor:
    kernels = _kernels()
    return kernels.linear(x, values, kernels.BlockIndex(*index[:6]), index[6])


def _linear_backward(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    kernels = _kernels()
    return kernels.linear_backward(grad, x, values, kernels.BlockIndex(*rest[:6]), *rest[6:])


def _lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, *index: Any
) -> tuple[Tensor, Tensor, Tensor]:
    kernels = _kernels()
    return kernels.lrt_linear(x, mean, log_std, key, kernels.BlockIndex(*index[:6]), index[6])


def _lrt_linear_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    kernels = _kernels()
    index = kernels.BlockIndex(*rest[:6])
    return kernels.lrt_linear_backward(grad, x, mean, variance, factor, index, *rest[6:])


# -- shapes and strides, for torch.compile and torch.export ---------------------------------------------


def _major_like(x: Tensor, features: int) -> Tensor:
    return x.new_empty(features, x.shape[0]).t()


def _linear_fake(x: Tensor, values: Tensor, crow: Tensor, *rest: Any) -> Tensor:
    return _major_like(x, crow.numel() - 1)


def _lrt_linear_fake(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, crow: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    rows = crow.numel() - 1
    return _major_like(x, rows), _major_like(x, rows), torch.empty_like(mean)


def _linear_backward_fake(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _major_like(x, x.shape[1]) if rest[-1] else x.new_empty(0, 0).t(), torch.empty_like(values)


def _lrt_linear_backward_fake(
    grad: Tensor, x: Tensor, mean: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return *_linear_backward_fake(grad, x, mean, *rest), torch.empty_like(mean)


# -- gradients ------------------------------------------------------------------------------------------


def _deterministic(product: Callable[..., Tensor]) -> type[torch.autograd.Function]:
    """The Function of :data:`block_linear`, with arguments (x, values, *index, side)."""

    class Deterministic(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Tensor:
            ctx.save_for_backward(*given[:8])
            ctx.side = given[8]
            return product(*given)

        @staticmethod
        @differentiable_once(differentiable.BLOCKS)
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            wants_x = ctx.needs_input_grad[0]
            grad_x, grad_values = block_linear_backward(grad, *ctx.saved_tensors, ctx.side, wants_x)
            return grad_x if wants_x else None, grad_values, *[None] * 7

    return Deterministic


def _local(draw: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> type[torch.autograd.Function]:
    """The Function of :data:`block_lrt_linear`, with arguments (x, mean, log_std, key, *index, side)."""

    class Local(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
            x, mean, _, _, *index, ctx.side = given
            y, factor, variance = draw(*given)
            ctx.save_for_backward(x, mean, variance, factor, *index)
            ctx.mark_non_differentiable(factor, variance)
            ctx.set_materialize_grads(False)
            return y, factor, variance

        @staticmethod
        @differentiable_once(differentiable.LOCAL)
        def backward(ctx: Any, grad: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
            if grad is None:  # y was not used
                return (None,) * 11
            wants_x = ctx.needs_input_grad[0]
            grad_x, *grads = block_lrt_linear_backward(grad, *ctx.saved_tensors, ctx.side, wants_x)
            return grad_x if wants_x else None, *grads, *[None] * 8

    return Local


# -- the operators --------------------------------------------------------------------------------------

#: ``x [B, I]`` times the transpose of an ``[O, I]`` weight of blocks: ``[B, O]``.
block_linear = define(
    f"block_linear(Tensor x, Tensor values, {_BLOCKS}) -> Tensor", _linear, _linear_fake, _deterministic
)

#: Gradients of :data:`block_linear` for x (empty if not needed) and for the values.
block_linear_backward = define(
    f"block_linear_backward(Tensor grad, Tensor x, Tensor values, {_BLOCKS}, bool wants_x) -> (Tensor, Tensor)",
    _linear_backward,
    _linear_backward_fake,
)

#: Outputs drawn by local reparametrisation, ε / (2 s), both ``[B, O]``, and σ² ``[nnz]``.
block_lrt_linear = define(
    f"block_lrt_linear(Tensor x, Tensor mean, Tensor log_std, Tensor key, {_BLOCKS})"
    " -> (Tensor, Tensor, Tensor)",
    _lrt_linear,
    _lrt_linear_fake,
    _local,
)

#: Gradients of :data:`block_lrt_linear` for x (empty if not needed), mean and log_std.
block_lrt_linear_backward = define(
    "block_lrt_linear_backward(Tensor grad, Tensor x, Tensor mean, Tensor variance, Tensor factor, "
    f"{_BLOCKS}, bool wants_x) -> (Tensor, Tensor, Tensor)",
    _lrt_linear_backward,
    _lrt_linear_backward_fake,
)


# -- cost: multiply and add counted as two, existing entries only ---------------------------------------


@register_flop_formula(torch.ops.szilard.block_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 2 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.block_lrt_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 4 * x[0] * values[0]
