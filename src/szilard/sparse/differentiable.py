"""The products of :mod:`szilard.sparse.ops` from torch's own differentiable ones, for those who transform functions.

The operators know their first derivative and no more. ``torch.func`` (``vmap``, ``grad``, ``jvp``), forward-mode
differentiation and a second backward pass need functions that torch can follow: the dense weight is made from the
values, and torch multiplies by it. Memory and time are those of a dense network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.kernels.geometry import Convolution
from szilard.sparse.portable import TINY, normal
from szilard.sparse.support import Index, Support, flat_index, to_dense

_CONVOLVE: dict[int, Callable[..., Tensor]] = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}

#: A product with a dense weight: (x, dense weight) -> y.
Product = Callable[[Tensor, Tensor], Tensor]


def transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work in this thread."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def aside() -> AbstractContextManager[object]:
    """Out of sight of the transforms of ``torch.func``, for what changes a state of its own."""
    return torch._C._DisableFuncTorch() if transformed() else nullcontext()


def spread(values: Tensor, support: Support) -> Tensor:
    """The dense weight with ``values [nnz]`` at the entries of a support."""
    if support.is_full or not transformed():
        return to_dense(values, support.crow, support.col, support.shape)
    return dense(values, support.index, support.shape)


def dense(values: Tensor, index: Index, shape: Sequence[int]) -> Tensor:
    """A dense tensor of ``shape``, without writing into one: a batch of values cannot be written into one tensor."""
    weight = torch.Size(shape)
    if values.shape[-1] == weight.numel():
        return values.reshape(shape)
    flat = flat_index(index.crow, index.col, weight[1:].numel())
    empty = torch.zeros(weight.numel(), dtype=values.dtype, device=values.device)
    return empty.scatter(0, flat, values).reshape(shape)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x [..., I] -> [..., O]``."""
    return F.linear(x, weight)


def convolution(how: Convolution) -> Product:
    """``x [B, C, *size] -> [B, O, *size]``, 1-d to 3-d."""

    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        return _CONVOLVE[weight.dim()](x, weight, None, how.stride, how.padding, how.dilation, how.groups)

    return convolve


def drawn(
    product: Product, x: Tensor, mean: Tensor, variance: Tensor, noise: Callable[[Tensor], Tensor]
) -> Tensor:
    """Outputs by local reparametrisation: ``x μᵀ + s ∘ ε`` with ``s² = (x∘x)(σ∘σ)ᵀ + tiny``.

    Args:
        mean, variance: dense weights.
        noise: makes ε for outputs like these.
    """
    y = product(x, mean)
    std = (product(x.square(), variance) + TINY).sqrt()
    return y + std * noise(std)


def noise_like(key: Tensor, shape: torch.Size, like: Tensor) -> Tensor:
    """Standard normal numbers of ``shape``, a function of the key: under ``vmap`` the same for every example."""
    with aside():
        return normal(key, list(shape), torch.empty(0, dtype=like.dtype, device=like.device))


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


LOCAL = (
    "a gradient of locally drawn outputs cannot be differentiated again; wrap the forward pass in "
    "szilard.bayes.mode(network, 'sample') for one draw of the weights, or 'mean' for their means"
)
BLOCKS = (
    "a gradient of the Triton kernels for blocks cannot be differentiated again; set SZILARD_KERNELS=torch"
)

Backward = Callable[..., tuple[Tensor | None, ...]]


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
