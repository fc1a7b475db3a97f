"""Removal scores of the entries of a weight, each ``(μ [nnz], σ [nnz]) -> [nnz]``; the lowest are dropped first.

With r = |μ|/σ the folded normal |θ| has E|θ| = σ m(r), m(r) = r erf(r/√2) + √(2/π) exp(-r²/2), and Var|θ| = σ² (1 + r²
- m²). E|θ| / √Var|θ| is a function of r alone whose slope has the sign of erf(r/√2) - 2 r φ(r) > 0, so it ranks exactly
as r does: the published name is an alias of the simpler score.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]


def magnitude(mean: Tensor, std: Tensor) -> Tensor:
    """|μ|."""
    return mean.abs()


def signal_to_noise(mean: Tensor, std: Tensor) -> Tensor:
    """|μ|/σ."""
    return mean.abs() / std


def expected_magnitude(mean: Tensor, std: Tensor) -> Tensor:
    """E|θ| for θ ~ N(μ, σ²)."""
    r = mean.abs() / std
    return std * (r * torch.erf(r / math.sqrt(2)) + math.sqrt(2 / math.pi) * torch.exp(-r.square() / 2))


SCORES: dict[str, Score] = {
    "magnitude": magnitude,
    "snr": signal_to_noise,
    "expected-magnitude": expected_magnitude,
    "SNR_mean_abs": signal_to_noise,  # the name in the SSVI publication
}
"""Removal scores by name, functions of mean and σ; entries of the lowest score are dropped."""
