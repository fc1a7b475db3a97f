"""Gradients through operators that torch cannot differentiate: that of A x is Aᵀ times the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from szilard.solve.operators import Linear, Operator


class _Map(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.back = back
        return there(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(gradients[0]), None, None


class Differentiable(Operator):
    """An operator whose products are differentiated by its adjoint, and the other way round."""

    def __init__(self, inner: Operator) -> None:
        super().__init__()
        self.inner, self.shape, self.dtype = inner, inner.shape, inner.dtype

    @property
    def device(self) -> torch.device:
        return self.inner.device

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return _Map.apply(x, self.inner.product, self.inner.adjoint)

    def adjoint(self, residual: Tensor) -> Tensor:
        return _Map.apply(residual, self.inner.adjoint, self.inner.product)


def differentiable(operator: Operator) -> Operator:
    """The operator itself, or in a form with gradients if it computes in numpy."""
    return Differentiable(operator) if isinstance(operator, Linear) else operator
