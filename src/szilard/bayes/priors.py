"""What is believed of a weight before data: zero-mean Gaussians, by the rule for their scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError


def gaussian_kl(mean: Tensor, log_std: Tensor, scale: float) -> Tensor:
    """``Σ KL(N(μ_i, σ_i²) ‖ N(0, s²))`` in nats, scalar.

    KL_i = ln(s/σ_i) + (σ_i² + μ_i²) / (2 s²) - 1/2. The point masses of a sparse posterior are outside the
    sum: the prior is confined to the same support, against a dense one the divergence would be infinite.
    """
    return _Divergence.apply(mean, log_std, scale)


class _Divergence(torch.autograd.Function):
    """The sum and its gradients μ/s² and σ²/s² - 1, in a few passes over the weights.

    Without a scale, s² is the mean of σ² + μ², where the sum is least. The gradients are the same there: the part
    through s vanishes at a minimum.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_std: Tensor, scale: float | None) -> Tensor:
        variance = (2 * log_std).exp_()
        moment = variance.sum() + torch.dot(mean, mean)
        square = moment / max(mean.numel(), 1) if scale is None else moment.new_tensor(scale * scale)
        ctx.save_for_backward(mean, variance, square)
        return 0.5 * mean.numel() * (square.log() - 1) - log_std.sum() + 0.5 * moment / square

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        mean, variance, square = ctx.saved_tensors
        rate = grad / square
        return mean * rate, (variance * rate).sub_(grad), None


@dataclass(frozen=True)
class FixedPrior:
    """N(0, scale²) for every weight."""

    scale: float = 1.0

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return gaussian_kl(mean, log_std, self.scale)


@dataclass(frozen=True)
class FanInPrior:
    """N(0, scale² / fan_in), fan_in counting existing entries only: the scale at which signals keep their size."""

    scale: float = 1.0

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return gaussian_kl(mean, log_std, self.scale / math.sqrt(max(fan_in, 1.0)))


@dataclass(frozen=True)
class LearnedPrior:
    """N(0, s²) with the s that minimises the divergence of the whole weight (empirical Bayes).

    The minimum is at s² = mean(σ² + μ²) and leaves ``Σ ln(s / σ_i)``; since it is closed form there is no
    parameter to train and none to forget.
    """

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return _Divergence.apply(mean, log_std, None)


Prior = FixedPrior | FanInPrior | LearnedPrior

PRIORS = ("fixed", "fan-in")


def make_prior(name: str, scale: float = 1.0) -> Prior:
    """By name: ``"fixed"``, ``"fan-in"`` (both with ``scale``) or ``"learned"``."""
    if name == "learned":
        return LearnedPrior()
    if name not in PRIORS:
        raise SzilardError(f"unknown prior {name!r}: choose fixed, fan-in or learned")
    if not scale > 0:
        raise SzilardError(f"a prior's scale must be positive, not {scale:g}")
    return FixedPrior(scale) if name == "fixed" else FanInPrior(scale)
