"""Products with a weight of blocks on a GPU, as custom operators; elsewhere blocks run as any other support.

What runs is in :mod:`szilard.sparse.triton_blocks`; the equations and the meaning of ``factor`` and ``variance``
are those of :mod:`szilard.sparse.ops`. Linear maps only: a convolution with blocks takes the general path.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from szilard.sparse.block import Block
from szilard.sparse.dispatch import implementation
from szilard.sparse.support import Support

SIDES = (16, 32, 64)  # of the blocks that a tensor core takes


def applies(support: Support, x: Tensor) -> bool:
    """Whether the product with ``x`` runs here: Triton serves ``x``, and the blocks are of a side it takes."""
    pattern = support.pattern
    return isinstance(pattern, Block) and pattern.side in SIDES and implementation(x) == "triton"


def linear(x: Tensor, values: Tensor, support: Support) -> Tensor:
    """``x [B, I] -> [B, O]``."""
    return block_linear(x, values, *_index(support))


def lrt_linear(x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, support: Support) -> Tensor:
    """Outputs drawn by local reparametrisation, ``[B, O]``; ``key`` is int64 ``[2]`` on the CPU, (seed, draw)."""
    return block_lrt_linear(x, mean, log_std, key, *_index(support))[0]


@torch.library.custom_op("szilard::block_linear", mutates_args=())
def block_linear(
    x: Tensor,
    values: Tensor,
    crow: Tensor,
    block_crow: Tensor,
    block_row: Tensor,
    block_col: Tensor,
    block_t_crow: Tensor,
    block_t_perm: Tensor,
    side: int,
) -> Tensor:
    """``x [B, I]`` times the transpose of an ``[O, I]`` weight of blocks: ``[B, O]``."""
    blocks = _kernels()
    index = blocks.BlockIndex(crow, block_crow, block_row, block_col, block_t_crow, block_t_perm)
    return blocks.linear(x, values, index, side)


@torch.library.custom_op("szilard::block_linear_backward", mutates_args=())
def block_linear_backward(
    grad: Tensor,
    x: Tensor,
    values: Tensor,
    crow: Tensor,
    block_crow: Tensor,
    block_row: Tensor,
    block_col: Tensor,
    block_t_crow: Tensor,
    block_t_perm: Tensor,
    side: int,
    wants_x: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`block_linear` for ``x`` (empty if not wanted) and ``values``."""
    blocks = _kernels()
    index = blocks.BlockIndex(crow, block_crow, block_row, block_col, block_t_crow, block_t_perm)
    return blocks.linear_backward(grad, x, values, index, side, wants_x)


@torch.library.custom_op("szilard::block_lrt_linear", mutates_args=())
def block_lrt_linear(
    x: Tensor,
    mean: Tensor,
    log_std: Tensor,
    key: Tensor,
    crow: Tensor,
    block_crow: Tensor,
    block_row: Tensor,
    block_col: Tensor,
    block_t_crow: Tensor,
    block_t_perm: Tensor,
    side: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, factor, variance) of local reparametrisation."""
    blocks = _kernels()
    index = blocks.BlockIndex(crow, block_crow, block_row, block_col, block_t_crow, block_t_perm)
    return blocks.lrt_linear(x, mean, log_std, key, index, side)


@torch.library.custom_op("szilard::block_lrt_linear_backward", mutates_args=())
def block_lrt_linear_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    factor: Tensor,
    crow: Tensor,
    block_crow: Tensor,
    block_row: Tensor,
    block_col: Tensor,
    block_t_crow: Tensor,
    block_t_perm: Tensor,
    side: int,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`block_lrt_linear` for ``x`` (empty if not wanted), ``mean`` and ``log_std``."""
    blocks = _kernels()
    index = blocks.BlockIndex(crow, block_crow, block_row, block_col, block_t_crow, block_t_perm)
    return blocks.lrt_linear_backward(grad, x, mean, variance, factor, index, side, wants_x)


def _kernels() -> Any:
    from szilard.sparse import triton_blocks  # needs Triton

    return triton_blocks


def _index(support: Support) -> tuple[Any, ...]:
    names = ("block_crow", "block_row", "block_col", "block_t_crow", "block_t_perm")
    pattern: Any = support.pattern
    return support.crow, *(support.get_buffer(name) for name in names), pattern.side


# -- shapes, for torch.compile and torch.export ---------------------------------------------------------


def _feature_major(x: Tensor, features: int) -> Tensor:
    return x.new_empty(features, x.shape[0]).t()


@block_linear.register_fake
def _(x: Tensor, values: Tensor, crow: Tensor, *rest: Any) -> Tensor:
    return _feature_major(x, crow.numel() - 1)


@block_lrt_linear.register_fake
def _(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, crow: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    rows = crow.numel() - 1
    return _feature_major(x, rows), _feature_major(x, rows), torch.empty_like(log_std)


@block_linear_backward.register_fake
def _(grad: Tensor, x: Tensor, values: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return _grad_x(x, rest[-1]), torch.empty_like(values)


@block_lrt_linear_backward.register_fake
def _(grad: Tensor, x: Tensor, mean: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _grad_x(x, rest[-1]), torch.empty_like(mean), torch.empty_like(mean)


def _grad_x(x: Tensor, wants_x: bool) -> Tensor:
    return _feature_major(x, x.shape[1]) if wants_x else x.new_empty(0, 0)


# -- gradients ------------------------------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.side = inputs[-1]
    ctx.save_for_backward(*inputs[:-1])


def _save_lrt(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, mean, _, _, *index, ctx.side = inputs
    _, factor, variance = output
    ctx.mark_non_differentiable(factor, variance)
    ctx.save_for_backward(x, mean, variance, factor, *index)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wants_x = ctx.needs_input_grad[0]
    grad_x, grad_values = block_linear_backward(grad, *ctx.saved_tensors, ctx.side, wants_x)
    return grad_x if wants_x else None, grad_values, *[None] * 7


def _backward_lrt(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    wants_x = ctx.needs_input_grad[0]
    grad_x, *grads = block_lrt_linear_backward(grad, *ctx.saved_tensors, ctx.side, wants_x)
    return grad_x if wants_x else None, *grads, *[None] * 8


block_linear.register_autograd(_backward, setup_context=_save)
block_lrt_linear.register_autograd(_backward_lrt, setup_context=_save_lrt)


# -- cost: multiply and add counted as two, existing entries only ---------------------------------------


@register_flop_formula(torch.ops.szilard.block_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 2 * x[0] * values[0]


@register_flop_formula(torch.ops.szilard.block_lrt_linear)
def _(x: torch.Size, values: torch.Size, *rest: Any, **kwargs: Any) -> int:
    return 4 * x[0] * values[0]
