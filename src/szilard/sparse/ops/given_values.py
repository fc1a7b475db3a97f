"""The gradient of a product with given values, which can itself be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from szilard.kernels.geometry import Convolution
from szilard.kernels.transforms import second
from szilard.sparse import differentiable
from szilard.sparse.support import Index


def deterministic(
    backward_product: Callable[..., tuple[Tensor, Tensor]], product: Callable[..., Tensor]
) -> type[torch.autograd.Function]:
    """The Function of a product with given values, with arguments (x, values, *index, *how).

    Args:
        backward_product: of (grad, x, values, *index, *how, wants_x), the gradients of x and of the values.
        product: of the same arguments as the Function; ``how`` is the geometry of a convolution, or nothing.
    """

    class Deterministic(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Tensor:
            ctx.save_for_backward(*arguments[:7])
            ctx.how = arguments[7:]
            return product(*arguments)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            if _is_differentiated():
                return *_second_of_product(ctx, grad), *[None] * (5 + len(ctx.how))
            wants_x = ctx.needs_input_grad[0]
            grad_x, grad_values = backward_product(grad, *ctx.saved_tensors, *ctx.how, wants_x)
            return grad_x if wants_x else None, grad_values, *[None] * (5 + len(ctx.how))

    return Deterministic


def _is_differentiated() -> bool:
    """Whether the backward pass itself will be differentiated (``create_graph=True``)."""
    return torch.is_grad_enabled() and not torch.compiler.is_compiling()


def _second_of_product(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, values, *index = ctx.saved_tensors
    product, shape = _product_of(x, index, ctx.how)

    def forward(x: Tensor, values: Tensor) -> Tensor:
        return product(x, differentiable.dense(values, Index(*index), shape))

    return second(forward, (x, values), grad, ctx.needs_input_grad[:2])


def _product_of(x: Tensor, index: Any, how: Any) -> tuple[differentiable.Product, list[int]]:
    if how:
        geometry = Convolution(*how)
        return differentiable.convolution(geometry), list(geometry.shape)
    return differentiable.linear, [index[0].numel() - 1, x.shape[-1]]
