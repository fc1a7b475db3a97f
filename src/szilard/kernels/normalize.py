"""Batch normalisation and max-pooling that keep activations batch-innermost.

The operators of torch would copy such an activation to its usual layout and leave it there. These are custom operators
over the C++ kernels; the layers that use them are in :mod:`szilard.bayes.batch_innermost`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.kernels import native
from szilard.kernels.arguments import expect
from szilard.kernels.dispatch import implementation
from szilard.kernels.layout import innermost, innermost_like, is_innermost
from szilard.kernels.operator import define
from szilard.kernels.transforms import second, transformed


def supports(x: Tensor) -> bool:
    """Whether the operators here can take ``x``: it is four-dimensional and batch-innermost, and there are C++
    kernels."""
    four = x.dim() == 4 and not transformed() and not torch.overrides.has_torch_function((x,))
    return four and x.shape[0] > 1 and is_innermost(x) and implementation(x) == "cpp"


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, relu: bool, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``relu(weight (x - mean) / std + bias + residual)`` with the statistics of the batch.

    Args:
        x, residual: ``[B, C, H, W]``; weight, bias: ``[C]``; all but ``x`` can be None.
        relu: whether ReLU is applied.
        eps: added to the variance.
    Returns:
        y, and per channel the mean, the biased variance and 1 / sqrt(variance + eps).
    """
    channels = x.shape[1]
    expect(x.shape, x=x, **{"residual": residual} if residual is not None else {})
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None:
            expect((channels,), **{name: tensor})
    x = innermost(x)
    residual = None if residual is None else innermost(residual)
    weight, bias = (None if t is None else t.contiguous() for t in (weight, bias))
    y = innermost_like(x, *x.shape)
    mean, variance, inverse_std = x.new_empty(channels), x.new_empty(channels), x.new_empty(channels)
    status = native.library().szilard_batch_norm(
        channels, x.numel() // channels, x.data_ptr(), _pointer(weight), _pointer(bias), _pointer(residual),
        relu, eps, y.data_ptr(), y.numel(), mean.data_ptr(), channels, variance.data_ptr(), channels,
        inverse_std.data_ptr(), channels, torch.get_num_threads(),
    )  # fmt: skip
    native.check(status, "batch_norm")
    return y, mean, variance, inverse_std


def _batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    y: Tensor | None,
    weight: Tensor | None,
    mean: Tensor,
    inverse_std: Tensor,
    relu: bool,
    residual: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of ``batch_norm`` for x, weight, bias and the residual (empty if there is none)."""
    expect(x.shape, grad=grad)
    grad, x, channels = innermost(grad), innermost(x), x.shape[1]
    weight = None if weight is None else weight.contiguous()
    grad_x, grad_weight, grad_bias = innermost_like(x, *x.shape), x.new_empty(channels), x.new_empty(channels)
    grad_residual = innermost_like(x, *x.shape) if residual else x.new_empty(0)
    status = native.library().szilard_batch_norm_backward(
        channels, x.numel() // channels, grad.data_ptr(), x.data_ptr(), _pointer(y), _pointer(weight),
        mean.data_ptr(), inverse_std.data_ptr(), relu, grad_x.data_ptr(), grad_x.numel(), grad_weight.data_ptr(),
        grad_weight.numel(), grad_bias.data_ptr(), grad_bias.numel(), grad_residual.data_ptr() if residual else None,
        grad_residual.numel(), torch.get_num_threads(),
    )  # fmt: skip
    native.check(status, "batch_norm_backward")
    return grad_x, grad_weight, grad_bias, grad_residual


def _max_pool(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> tuple[Tensor, Tensor]:
    """Largest value of each window of ``x [B, C, H, W]``, and its position in the window (uint8, row-major)."""
    expect(x.shape, x=x)
    if (
        any(2 * p > k for k, p in zip(kernel, padding, strict=True))
        or min(_pooled(x, kernel, stride, padding)) < 1
    ):
        raise SzilardError(
            f"max-pooling with windows of {tuple(kernel)} and padding {tuple(padding)} was given inputs of size "
            f"{tuple(x.shape[2:])}; pad by half a window at most, and give inputs at least as large as a window"
        )
    x = innermost(x)
    y = innermost_like(x, *x.shape[:2], *_pooled(x, kernel, stride, padding))
    where = torch.empty_like(y, dtype=torch.uint8)
    geometry = _windows(x.shape, y.shape, kernel, stride, padding)
    status = native.library().szilard_max_pool(
        geometry,
        x.data_ptr(),
        y.data_ptr(),
        y.numel(),
        where.data_ptr(),
        where.numel(),
        torch.get_num_threads(),
    )
    native.check(status, "max_pool")
    return y, where


def _max_pool_backward(
    grad: Tensor, where: Tensor, size: list[int], kernel: list[int], stride: list[int], padding: list[int]
) -> Tensor:
    """Gradient of ``max_pool`` for an input of spatial ``size``."""
    grad = innermost(grad)
    grad_x = innermost_like(grad, *grad.shape[:2], *size)
    geometry = _windows(grad_x.shape, grad.shape, kernel, stride, padding)
    status = native.library().szilard_max_pool_backward(
        geometry,
        grad.data_ptr(),
        where.data_ptr(),
        grad_x.data_ptr(),
        grad_x.numel(),
        torch.get_num_threads(),
    )
    native.check(status, "max_pool_backward")
    return grad_x


def _batch_norm_fake(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    channels = x.shape[1]
    return innermost_like(x, *x.shape), x.new_empty(channels), x.new_empty(channels), x.new_empty(channels)


def _batch_norm_backward_fake(grad: Tensor, x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    like = innermost_like(x, *x.shape)
    grad_residual = torch.empty_like(like) if rest[-1] else x.new_empty(0)
    return like, x.new_empty(x.shape[1]), x.new_empty(x.shape[1]), grad_residual


def _max_pool_fake(
    x: Tensor, kernel: list[int], stride: list[int], padding: list[int]
) -> tuple[Tensor, Tensor]:
    y = innermost_like(x, *x.shape[:2], *_pooled(x, kernel, stride, padding))
    return y, torch.empty_like(y, dtype=torch.uint8)


def _max_pool_backward_fake(grad: Tensor, where: Tensor, size: list[int], *rest: Any) -> Tensor:
    return innermost_like(grad, *grad.shape[:2], *size)


def _norm_gradient(norm: Callable[..., tuple[Tensor, ...]]) -> type[torch.autograd.Function]:
    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
            x, weight, bias, residual, ctx.relu, ctx.eps = arguments
            y, mean, variance, inverse_std = norm(*arguments)
            ctx.residual = residual is not None
            ctx.save_for_backward(x, y if ctx.relu else None, weight, mean, inverse_std, bias, residual)
            ctx.mark_non_differentiable(mean, variance, inverse_std)
            ctx.set_materialize_grads(False)
            return y, mean, variance, inverse_std

        @staticmethod
        def backward(ctx: Any, grad: Tensor | None, *unused: None) -> tuple[Tensor | None, ...]:
            if grad is None:
                return (None,) * 6
            x, y, weight, mean, inverse_std, bias, residual = ctx.saved_tensors
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True

                def forward(x: Tensor, weight: Any, bias: Any, residual: Any) -> Tensor:
                    z = F.batch_norm(x, None, None, weight, bias, training=True, eps=ctx.eps)
                    z = z if residual is None else z + residual
                    return z.relu() if ctx.relu else z

                given = (x, weight, bias, residual)
                return *second(forward, given, grad, ctx.needs_input_grad[:4]), None, None
            wants_residual = ctx.residual and ctx.needs_input_grad[3]
            grad_x, grad_weight, grad_bias, grad_residual = batch_norm_backward(
                grad, x, y, weight, mean, inverse_std, ctx.relu, wants_residual
            )
            affine = (grad_weight, grad_bias) if weight is not None else (None, None)
            return grad_x, *affine, grad_residual if wants_residual else None, None, None

    return Norm


def _pool_gradient(pool: Callable[..., tuple[Tensor, Tensor]]) -> type[torch.autograd.Function]:
    class Pool(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
            x, *ctx.windows = arguments
            y, where = pool(*arguments)
            ctx.size = list(x.shape[2:])
            ctx.save_for_backward(where, x)
            ctx.mark_non_differentiable(where)
            return y, where

        @staticmethod
        def backward(ctx: Any, grad: Tensor, _: None) -> tuple[Tensor | None, ...]:
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
                (x,) = ctx.saved_tensors[1:]
                kernel, stride, padding = ctx.windows
                found = second(lambda x: F.max_pool2d(x, kernel, stride, padding), (x,), grad, (True,))
                return *found, None, None, None
            return max_pool_backward(grad, ctx.saved_tensors[0], ctx.size, *ctx.windows), None, None, None

    return Pool


batch_norm = define(
    "batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor? residual, bool relu, float eps)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    _batch_norm,
    _batch_norm_fake,
    _norm_gradient,
)
batch_norm_backward = define(
    "batch_norm_backward(Tensor grad, Tensor x, Tensor? y, Tensor? weight, Tensor mean, Tensor inverse_std, "
    "bool relu, bool residual) -> (Tensor, Tensor, Tensor, Tensor)",
    _batch_norm_backward,
    _batch_norm_backward_fake,
)
max_pool = define(
    "max_pool(Tensor x, int[] kernel, int[] stride, int[] padding) -> (Tensor, Tensor)",
    _max_pool,
    _max_pool_fake,
    _pool_gradient,
)
max_pool_backward = define(
    "max_pool_backward(Tensor grad, Tensor where, int[] size, int[] kernel, int[] stride, int[] padding) -> Tensor",
    _max_pool_backward,
    _max_pool_backward_fake,
)


def _pooled(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> list[int]:
    return [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True)]


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _windows(
    x: torch.Size, y: torch.Size, kernel: list[int], stride: list[int], padding: list[int]
) -> native.Geometry:
    batch, channels, *size = x
    return native.Geometry(
        batch, channels, *size, channels, *y[2:], *kernel, *stride, *padding, 1, 1, channels
    )
