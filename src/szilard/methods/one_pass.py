"""Predictions from one forward pass of means and variances, instead of draws of the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes import evaluating
from szilard.bayes.moments.run import propagate
from szilard.bayes.moments.value import Moments
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, NoisyGaussian
from szilard.methods import checks, inputs
from szilard.methods.to_predictive import predictive_of, two_classes
from szilard.metrics import Predictive
from szilard.metrics.jackknife import jackknife_error, ratio_error
from szilard.metrics.normal_points import normal_points, normal_quantiles

POINTS = 128  # of the Gaussian of the logits; a multiple of STAND_INS
_FAR = 1.5  # ratio to draws, or its inverse
STAND_INS = 32  # known values that stand for an unseen category, drawn with their frequencies


class RatioToDraws(NamedTuple):
    """Mean epistemic uncertainty in one pass, divided by that of draws.

    Attributes:
        ratio: of the means over the inputs.
        error: its standard error, because the numbers of draws and of inputs are finite. Draws are the same for all
            inputs, so that more inputs alone do not make it small.
    """

    ratio: float
    error: float

    @property
    def is_far(self) -> bool:
        """Whether it is worth a warning: more than a factor of 1.5 from 1, by more than two standard errors."""
        return (
            abs(math.log(self.ratio)) > math.log(_FAR) + 2 * self.error / self.ratio
            if self.ratio > 0
            else True
        )

    @property
    def is_noise(self) -> bool:
        """Whether it is within two standard errors of 1."""
        return abs(self.ratio - 1) <= 2 * self.error


def ratio_to_draws(found: Predictive, drawn: Predictive) -> RatioToDraws | None:
    """Epistemic uncertainty of one pass beside that of draws, for the same inputs; None if draws have none.

    Args:
        found: predictions of one pass.
        drawn: of S independent draws, at least two.
    """

    def of_draws(kept: Predictive) -> float:
        # S draws have (S - 1) / S of the variance of all draws.
        count = kept.n_samples
        return float(kept.epistemic().double().mean()) * count / (count - 1)

    wanted = of_draws(drawn)
    if not wanted > 0:
        return None
    ratio = float(found.epistemic().double().mean()) / wanted
    error = jackknife_error(lambda kept: of_draws(drawn.of_draws(kept)), drawn.n_samples)
    of_inputs = ratio_error(found.epistemic(), drawn.epistemic())
    return RatioToDraws(ratio, math.hypot(ratio * error / wanted, of_inputs))


@torch.no_grad()
def moments(network: nn.Module, x: Any, batch_size: int) -> Moments:
    """Mean and variance of the outputs ``[N, ...]``, in host memory.

    Args:
        x: all inputs, a tensor ``[N, ...]`` or a tuple, list or dict of them.
        batch_size: number of inputs in each forward pass.

    Raises:
        SzilardError: an operation without a rule, or an output that is not one tensor.
    """
    if batch_size < 1:
        raise SzilardError(f"batch_size must be at least 1, not {batch_size}")
    device = next(network.parameters()).device
    means, variances = [], []
    with evaluating(network):
        for part in inputs.parts(x, batch_size, device):
            found = propagate(network, part)
            if not isinstance(found, Moments):
                raise SzilardError(f"the network returns {type(found).__name__}; it must return one tensor")
            means.append(checks.answer(found.mean, inputs.count(part)).cpu())
            variances.append(found.variance.cpu())
    return Moments(checks.joined(means), checks.joined(variances))


@torch.no_grad()
def with_stand_ins(
    network: nn.Module, x: Tensor, replaced: Callable[[int], Tensor], batch_size: int
) -> Moments:
    """As :func:`moments`, ``[STAND_INS, N, ...]``: of inputs with known values in place of unseen categories.

    Only rows with such categories are computed more than once.

    Args:
        replaced: from a number below ``STAND_INS`` to inputs ``[N, D]`` (:class:`szilard.data.unseen.StandIns`).

    Raises:
        SzilardError: as :func:`moments`.
    """
    new = (replaced(0) != x).any(1)
    known = moments(network, replaced(0), batch_size)
    mean, variance = (part.expand(STAND_INS, *part.shape).clone() for part in known)
    for number in range(1, STAND_INS):
        mean[number, new], variance[number, new] = moments(network, replaced(number)[new], batch_size)
    return Moments(mean, variance)


def predictive(likelihood: Likelihood, found: Moments, calibration: float, two: bool) -> Predictive:
    """The predictions of Gaussian outputs, or of a mixture of K Gaussians of the same weight.

    Logits become fixed points of their Gaussians, divided by ``calibration``. Means and noises of a regression are
    exact: of ln σ ~ N(m, v) the mean noise variance is e^(2 m + 2 v). The variance of a mixture is the mean of the
    variances and the variance of the means.

    Args:
        likelihood: of the outputs.
        found: mean and variance of the outputs, ``[K, N, ...]``.
        calibration: divides logits.
        two: whether one logit means two classes.

    Raises:
        SzilardError: outputs that are not finite, or a likelihood without a rule.
    """
    mean, variance = found
    if isinstance(likelihood, NoisyGaussian):
        predictive_of(likelihood, mean)  # checks the shape, and that all is finite
        parts = [
            (likelihood.columns(one), likelihood.columns(v)) for one, v in zip(mean, variance, strict=True)
        ]
        centres, spreads = (torch.stack([part[i][0] for part in parts]) for i in (0, 1))
        logs, log_spreads = (torch.stack([part[i][1] for part in parts]) for i in (0, 1))
        noise = (2 * logs + 2 * log_spreads).exp().mean(0)
        return Predictive.from_moments(centres.mean(0), _mixed(centres, spreads), noise)
    if isinstance(likelihood, Gaussian):
        plain = predictive_of(likelihood, mean)
        centres = plain.samples
        spread = _mixed(centres, variance.reshape(centres.shape).to(centres))
        return Predictive.from_moments(plain.mean, spread, plain.aleatoric())
    if isinstance(likelihood, Bernoulli):
        points = normal_quantiles(POINTS).to(mean).view(-1, *[1] * (mean.dim() - 1))
    elif isinstance(likelihood, Categorical):
        axis = -1 if likelihood.last else 2
        shape = [POINTS, *[1] * (mean.dim() - 1)]
        shape[axis] = mean.shape[axis]
        points = normal_points(POINTS, mean.shape[axis]).to(mean).view(shape)
    else:
        raise SzilardError(f"{type(likelihood).__name__} has no prediction in one pass; predict with samples")
    if len(mean) > 1:
        of_point = torch.arange(POINTS) % len(mean)  # which Gaussian a point belongs to
        mean, variance = mean[of_point], variance[of_point]
    draws = mean + variance.sqrt() * points
    return two_classes(draws, calibration) if two else predictive_of(likelihood, draws, calibration)


def _mixed(means: Tensor, variances: Tensor) -> Tensor:
    """Variance ``[N, ...]`` of a mixture of Gaussians ``[K, N, ...]``."""
    return variances.mean(0) + means.var(0, unbiased=False)
