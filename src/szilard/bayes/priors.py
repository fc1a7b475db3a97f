"""Priors of weights: zero-mean Gaussians with several rules for their scale, and the log-uniform prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.bayes.divergence import gaussian_kl
from szilard.errors import SzilardError


@dataclass(frozen=True)
class FixedPrior:
    """N(0, scale²) for every weight."""

    scale: float = 1.0

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return gaussian_kl(mean, log_std, self.scale)


@dataclass(frozen=True)
class FanInPrior:
    """N(0, scale² / fan_in), where fan_in counts existing entries only: the scale at which signals keep their size."""

    scale: float = 1.0

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return gaussian_kl(mean, log_std, self.scale / math.sqrt(max(fan_in, 1.0)))


@dataclass(frozen=True)
class LearnedPrior:
    """N(0, s²) with the s that minimises the divergence of the whole weight (empirical Bayes).

    The minimum is at s² = mean(σ² + μ²) and leaves ``Σ ln(s / σ_i)``. It has a closed form, so there is no parameter to
    train.
    """

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return gaussian_kl(mean, log_std, None)


@dataclass(frozen=True)
class LogUniformPrior:
    """p(|w|) ∝ 1/|w|, the same on every scale (Kingma et al. 2015). Improper: its divergence has no zero."""

    def kl(self, mean: Tensor, log_std: Tensor, fan_in: float) -> Tensor:
        return log_uniform_kl(mean, log_std)


def log_alpha(mean: Tensor, log_std: Tensor) -> Tensor:
    """ln σ²/μ², elementwise, kept between -8 and 8."""
    return (2 * log_std - mean.square().clamp_min(1e-30).log()).clamp(-8, 8)


def log_uniform_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """``Σ KL(N(μ_i, σ_i²) ‖ 1/|w|)`` in nats, scalar, with the constant that makes it vanish for α → ∞.

    ``k₁ - k₁ s(k₂ + k₃ ln α) + ln(1 + 1/α) / 2`` with the logistic s: the fit of Molchanov et al. (2017), with an error
    below 0.01 nats for each weight.
    """
    alpha = log_alpha(mean, log_std)
    rest = 0.63576 * torch.sigmoid(1.87320 + 1.48695 * alpha)
    return (0.63576 - rest + 0.5 * torch.nn.functional.softplus(-alpha)).sum()


Prior = FixedPrior | FanInPrior | LearnedPrior | LogUniformPrior
"""Any prior of a weight: the divergence of a Gaussian from it is ``kl(mean, log_std, fan_in)``, in nats."""

PRIORS = ("fixed", "fan-in")
NAMES = (*PRIORS, "learned")  #: that :func:`make_prior` takes


def make_prior(name: str, scale: float = 1.0) -> Prior:
    """A prior by name: ``"fixed"``, ``"fan-in"`` (both with ``scale``) or ``"learned"``."""
    if name == "learned":
        return LearnedPrior()
    if name not in PRIORS:
        raise SzilardError(f"unknown prior {name!r}: choose fixed, fan-in or learned")
    if not scale > 0:
        raise SzilardError(f"a prior's scale must be positive, not {scale:g}")
    return FixedPrior(scale) if name == "fixed" else FanInPrior(scale)
