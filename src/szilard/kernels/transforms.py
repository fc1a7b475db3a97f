"""What custom operators do where functions are transformed: ``torch.func``, forward mode, and second derivatives."""

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
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work in this thread."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def aside() -> AbstractContextManager[object]:
    """Out of sight of the transforms of ``torch.func``, for what changes a state of its own."""
    return torch._C._DisableFuncTorch() if transformed() else nullcontext()


def second(
    forward: Callable[..., Tensor], inputs: Sequence[Tensor | None], grad: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The vector-Jacobian product of ``forward(*inputs)`` as a function that can be differentiated again.

    Args:
        inputs: as saved by the forward pass, with their history.
        wanted: which of their gradients are asked for.

    Returns:
        one gradient an input; None where it is not wanted.
    """
    given = [t for t, wants in zip(inputs, wanted, strict=True) if wants and t is not None]
    found: Any = iter(
        torch.autograd.grad(forward(*inputs), given, grad, create_graph=True, allow_unused=True)
    )
    return tuple(
        next(found) if wants and t is not None else None for t, wants in zip(inputs, wanted, strict=True)
    )


def once(why: str) -> Callable[[Backward], Backward]:
    """Of a Function: a backward pass that can be run once, and says ``why`` where it would be differentiated.

    An output of local reparametrisation has noise of its own, so that its gradient for the inputs is that of no one
    network; a draw of the weights, or the mean, is a network.
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
    """The identity, which depends on others and has no gradient."""

    @staticmethod
    def forward(ctx: Any, why: str, gradient: Tensor, *roots: Tensor) -> Tensor:
        ctx.why = why
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise SzilardError(ctx.why)
