"""What custom operators do under function transforms: ``torch.func``, forward mode, and second derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from szilard.errors import SzilardError

Backward = Callable[..., tuple[Tensor | None, ...]]


def transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is active in this thread."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def outside_transforms() -> AbstractContextManager[object]:
    """A block outside of the transforms of ``torch.func``, for code that changes its own state."""
    return torch._C._DisableFuncTorch() if transformed() else nullcontext()


def second(
    forward: Callable[..., Tensor], inputs: Sequence[Tensor | None], grad: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The vector-Jacobian product of ``forward(*inputs)`` as a function that can be differentiated again.

    Args:
        inputs: as saved by the forward pass, with their autograd history.
        wanted: which of their gradients are needed.

    Returns:
        one gradient for each input; None if it is not needed.
    """
    given = [t for t, wants in zip(inputs, wanted, strict=True) if wants and t is not None]
    found: Any = iter(
        torch.autograd.grad(forward(*inputs), given, grad, create_graph=True, allow_unused=True)
    )
    return tuple(
        next(found) if wants and t is not None else None for t, wants in zip(inputs, wanted, strict=True)
    )


def differentiable_once(why: str) -> Callable[[Backward], Backward]:
    """Decorate the backward pass of a Function that cannot be differentiated again; trying it raises ``why``.

    Each output of local reparametrisation has its own noise, so its gradient for the inputs is not that of a single
    network. A draw of the weights, or their mean, is a single network.
    """

    def around(backward: Backward) -> Backward:
        @functools.wraps(backward)
        def run(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            if not torch.is_grad_enabled() or torch.compiler.is_compiling():
                return backward(ctx, *grads)
            with torch.no_grad():
                found = backward(ctx, *grads)
            roots = [t for t in (*ctx.saved_tensors, *grads) if t is not None and t.requires_grad]
            return tuple(None if t is None else _Once.apply(why, t, *roots) for t in found)

        return run

    return around


class _Once(torch.autograd.Function):
    """The identity, made to depend on ``roots``; its own gradient raises the error."""

    @staticmethod
    def forward(ctx: Any, why: str, gradient: Tensor, *roots: Tensor) -> Tensor:
        ctx.why = why
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise SzilardError(ctx.why)
