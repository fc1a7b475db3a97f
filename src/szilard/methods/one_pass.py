"""Predictions from one forward pass of means and variances, instead of draws of the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard.bayes import evaluating
from szilard.bayes.moments.run import propagate
from szilard.bayes.moments.value import Moments
from szilard.errors import SzilardError
from szilard.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, NoisyGaussian
from szilard.methods import checks, inputs
from szilard.methods.to_predictive import predictive_of, two_classes
from szilard.metrics import Predictive
from szilard.metrics.normal_points import normal_points, normal_quantiles

POINTS = 128  # of the Gaussian of the logits


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


def predictive(likelihood: Likelihood, found: Moments, calibration: float, two: bool) -> Predictive:
    """The predictions of Gaussian outputs ``[N, ...]``.

    Logits become fixed points of their Gaussian, divided by ``calibration``. Means and noises of a regression are
    exact: of ln σ ~ N(m, v) the mean noise variance is e^(2 m + 2 v).

    Args:
        likelihood: of the outputs.
        found: mean and variance of the outputs.
        calibration: divides logits.
        two: whether one logit means two classes.

    Raises:
        SzilardError: outputs that are not finite, or a likelihood without a rule.
    """
    mean, variance = found
    if isinstance(likelihood, NoisyGaussian):
        predictive_of(likelihood, mean.unsqueeze(0))  # checks the shape, and that all is finite
        (centre, log), (spread, log_spread) = likelihood.columns(mean), likelihood.columns(variance)
        return Predictive.from_moments(centre, spread, (2 * log + 2 * log_spread).exp())
    if isinstance(likelihood, Gaussian):
        plain = predictive_of(likelihood, mean.unsqueeze(0))
        centre, noise = plain.mean, plain.aleatoric()
        return Predictive.from_moments(centre, variance.reshape(centre.shape).to(centre), noise)
    if isinstance(likelihood, Bernoulli):
        points = normal_quantiles(POINTS).to(mean).view(-1, *[1] * mean.dim())
    elif isinstance(likelihood, Categorical):
        axis = -1 if likelihood.last else 1
        shape = [1] * mean.dim()
        shape[axis] = mean.shape[axis]
        points = normal_points(POINTS, mean.shape[axis]).to(mean).view(-1, *shape)
    else:
        raise SzilardError(f"{type(likelihood).__name__} has no prediction in one pass; predict with samples")
    draws = mean.unsqueeze(0) + variance.sqrt().unsqueeze(0) * points
    return two_classes(draws, calibration) if two else predictive_of(likelihood, draws, calibration)


def refuse_unknown(changed: object) -> None:
    """Refuse inputs with categories that were not in the training data: their values are drawn.

    Raises:
        SzilardError: if there are such values.
    """
    if changed is not None:
        raise SzilardError(
            "some inputs have a category that was not in the training data, whose value is drawn; predict with samples"
        )
