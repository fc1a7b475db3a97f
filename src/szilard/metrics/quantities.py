"""Metrics of a regression, from the mixture of the draws' predictions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.metrics.predictive import Predictive
from szilard.metrics.selective import risk_coverage


def of_quantities(predictive: Predictive, y: Tensor, scale: float) -> dict[str, float]:
    """Metrics of a regression with targets ``[N]``."""
    means = predictive.samples.double()
    below = within95(predictive, y)
    return {
        "rmse": float((predictive.averaged(means) - y.double()).square().mean().sqrt()) * scale,
        "nll": float((mixture_nll(predictive, y) + math.log(scale)).mean()),
        "coverage95": float(below.mean()),
        "aurc": risk_coverage(predictive, y)[2] * scale**2,
        "aleatoric": float(predictive.aleatoric().double().mean().sqrt()) * scale,
        "epistemic": float(predictive.epistemic().double().mean().sqrt()) * scale,
    }


def mixture_nll(predictive: Predictive, y: Tensor) -> Tensor:
    """Negative log density of each target under the mixture of the draws, nats, of ``y``'s shape."""
    means, variances, y = *_moments(predictive), y.double()
    log_density = -0.5 * ((y - means).square() / variances + variances.log() + math.log(2 * math.pi))
    if predictive.weights is None:
        return math.log(len(means)) - log_density.logsumexp(0)
    shares = predictive.weights.log().view(-1, *[1] * (log_density.dim() - 1))
    return -(log_density + shares).logsumexp(0)


def within95(predictive: Predictive, y: Tensor) -> Tensor:
    """1 for each target inside the central 95 % of the mixture of the draws, else 0; float64."""
    means, variances = _moments(predictive)
    # The mixture's distribution at y.
    below = predictive.averaged(torch.special.ndtr((y.double() - means) / variances.sqrt()))
    return ((below > 0.025) & (below < 0.975)).double()


def _moments(predictive: Predictive) -> tuple[Tensor, Tensor]:
    if predictive.means is None or predictive.variances is None:
        raise SzilardError("a regression needs means and variances")
    return predictive.means.double(), predictive.variances.double()
