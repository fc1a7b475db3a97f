"""Factors of variances, fitted to draws, that compensate the correlations which one pass leaves out."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from szilard.bayes.moments import gaussian
from szilard.bayes.moments.comparison import ratio
from szilard.bayes.moments.layer_moments import Place, in_one_pass, sampled
from szilard.bayes.moments.value import GaussianTensor, Moments

_ROUNDS = 5  # of the fit of a variance before a ReLU to variances after it


def fit_factors(network: nn.Module, x: Any, draws: int = 100, seed: int = 0) -> dict[str, float]:
    """A factor for the variance of each layer's output, to be passed to :func:`szilard.bayes.propagate`.

    One pass treats the units of a layer as independent and so misjudges variances, by a factor that is similar for all
    units of a layer and for all inputs of a kind. In the order of the forward pass each layer's variances, which
    include the factors of the layers before, are compared with those of draws: the factor is the geometric mean of the
    ratio over units. Where a layer's output is a ReLU, its factor is for the variance before the ReLU.

    Args:
        network: in eval mode; not changed, but other threads must not use it meanwhile.
        x: a calibration batch: inputs like those to predict.
        draws: number of draws, at least 2.
        seed: of the draws.

    Returns:
        factors by the name of the module. For a module that is called several times it is fitted to the first call.

    Raises:
        SzilardError: as ``propagate``, or fewer than two draws.
    """
    wanted = sampled(network, x, draws, seed)
    factors: dict[str, float] = {}

    def see(place: Place, value: GaussianTensor) -> GaussianTensor | None:
        if not place.name:  # the network itself: its last layer has a factor already
            return None
        if place.name not in factors:
            target = wanted.get(place)
            if target is None:
                return None
            found = _fitted(value, target)
            if not math.isfinite(found):
                return None
            factors[place.name] = found
        return value.scaled(factors[place.name])

    in_one_pass(network, x, see)
    return factors


def _fitted(value: GaussianTensor, target: Moments) -> float:
    """The factor with which a Gaussian has the variances of ``target``, on average; NaN if nothing is random."""
    before = value.before_relu
    if before is None:
        return 1 / ratio(value.moments.variance, target.variance)
    factor = 1.0
    for _ in range(_ROUNDS):
        _, variance = gaussian.relu(before.mean, before.variance * factor)
        factor /= ratio(variance, target.variance)
    return factor
