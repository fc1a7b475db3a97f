"""KL(q ‖ prior) of a Gaussian weight and a zero-mean Gaussian prior, with its gradients in closed form."""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any

import torch
from torch import Tensor

from szilard.kernels import native
from szilard.kernels.dispatch import implementation
from szilard.kernels.operator import unobserved
from szilard.kernels.transforms import second, transformed


def gaussian_kl(mean: Tensor, log_std: Tensor, scale: float | None) -> Tensor:
    """``Σ KL(N(μ_i, σ_i²) ‖ N(0, s²))`` in nats, scalar; without a ``scale``, with the s that minimises it.

    KL_i = ln(s/σ_i) + (σ_i² + μ_i²) / (2 s²) - 1/2. The point masses of a sparse posterior are not in the sum: the
    prior is confined to the same support, because the divergence from a dense one would be infinite.

    The minimum is at s² = mean(σ² + μ²). The gradients are μ/s² and σ²/s² - 1 in both cases, because the part through s
    vanishes at the minimum.
    """
    if transformed():
        return _followed(mean, log_std, scale)
    return _Divergence.apply(mean, log_std, scale)


def _followed(mean: Tensor, log_std: Tensor, scale: float | None) -> Tensor:
    """The same in functions of torch, for function transforms and second derivatives."""
    n = max(mean.numel(), 1)
    moment = (2 * log_std).exp().sum() + mean.square().sum()
    square = moment / n if scale is None else moment.new_tensor(scale * scale)
    return 0.5 * (n * (square.log() - 1) + moment / square) - log_std.sum()


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, scale: float | None) -> Tensor:
        ctx.save_for_backward(mean, log_std)
        ctx.scale = scale
        n = max(mean.numel(), 1)
        ctx.compiled = _is_compiled(mean, log_std)
        if not ctx.compiled:
            moment = (2 * log_std).exp_().sum() + mean.square().sum()
            ctx.square = moment / n if scale is None else moment.new_tensor(scale * scale)
            return 0.5 * (n * (ctx.square.log() - 1) + moment / ctx.square) - log_std.sum()
        sums = (ctypes.c_double * 2)()
        status = native.library().szilard_divergence(
            mean.numel(), mean.data_ptr(), log_std.data_ptr(), sums, len(sums)
        )
        native.check(status, "divergence")
        square = sums[0] / n if scale is None else scale * scale
        ctx.square = square
        value = 0.5 * (n * (math.log(square) - 1) + sums[0] / square) - sums[1] if square > 0 else math.nan
        return torch.tensor(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        mean, log_std = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            of_both = functools.partial(_followed, scale=ctx.scale)
            of_mean, of_log_std = second(of_both, (mean, log_std), grad, ctx.needs_input_grad[:2])
            return of_mean, of_log_std, None
        if not ctx.compiled:
            rate = grad / ctx.square
            return mean * rate, (2 * log_std).exp_().mul_(rate).sub_(grad), None
        grad_mean, grad_log_std, offset = torch.empty_like(mean), torch.empty_like(mean), grad.item()
        status = native.library().szilard_divergence_backward(
            mean.numel(), mean.data_ptr(), log_std.data_ptr(), offset / ctx.square, offset,
            grad_mean.data_ptr(), grad_mean.numel(), grad_log_std.data_ptr(), grad_log_std.numel(),
        )  # fmt: skip
        native.check(status, "divergence_backward")
        return grad_mean, grad_log_std, None


def _is_compiled(mean: Tensor, log_std: Tensor) -> bool:
    """Whether the C++ kernels can be used: float32 vectors on the CPU, and no tracing."""
    vectors = mean.is_contiguous() and log_std.is_contiguous() and mean.shape == log_std.shape
    return vectors and mean.dtype == log_std.dtype and unobserved(mean) and implementation(mean) == "cpp"
