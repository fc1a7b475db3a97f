"""Epistemic uncertainty of one pass beside that of draws, and the factor of the variance with which both are equal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.noise import PREDICTING, mix
from szilard.deploy import arguments
from szilard.deploy.rules import rule_of
from szilard.deploy.uncertainty import Rule
from szilard.deploy.units import Standardise, Units, checked
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName
from szilard.networks.takes import call

DRAWS = 50
_LEAST, _MOST = 1e-3, 1e5  # of the factor
_STEPS = 40  # of the bisection of its logarithm


@dataclass(frozen=True)
class DrawsComparison:
    """Mean epistemic uncertainty of the same inputs in one pass and over draws.

    Attributes:
        one_pass: mutual information (nats), or variance of the mean in the network's units squared.
        unmatched: the same without a factor of the variance.
        draws: the same over draws, of which a finite number has slightly too little: corrected by S / (S - 1).
        factor: multiplies the variance of the outputs of one pass; with it, both are equal.
        inputs: number of inputs.
        count: S, the number of draws.
    """

    one_pass: float
    unmatched: float
    draws: float
    factor: float
    inputs: int
    count: int

    @property
    def ratio(self) -> float:
        """Epistemic uncertainty of one pass, divided by that of draws."""
        return self.one_pass / self.draws


@torch.no_grad()
def compare_with_draws(
    network: nn.Module,
    x: Tensor,
    *,
    task: TaskName | Likelihood = "classification",
    calibration: float = 1.0,
    inputs: Units | None = None,
    variance_factor: float = 1.0,
    draws: int = DRAWS,
    seed: int = 0,
) -> DrawsComparison:
    """Compare the epistemic uncertainty of one pass with that of draws, on inputs like those to predict.

    One pass treats most units of a layer as independent. Where they are not, it has another uncertainty than draws,
    usually less. ``compile(..., variance_factor=found.factor)`` corrects its mean.

    Args:
        network: Bayesian, in eval mode; other threads must not use it meanwhile.
        x: inputs ``[N, *shape]`` in the user's units that were not trained on; some 50 are enough.
        task, calibration, inputs: as of :func:`szilard.deploy.compile`.
        variance_factor: of the one pass that is compared.
        draws: number of draws, at least 2.
        seed: of the draws.

    Raises:
        SzilardError: a network without Gaussian weights or in training mode, fewer than two draws, or a network whose
            weights are Gaussian but whose outputs do not vary.
    """
    if draws < 2:
        raise SzilardError(f"draws must be at least 2, not {draws}: one draw has no uncertainty")
    (network,) = arguments.members_of(network)
    arguments.mode_for([network], "moments")
    arguments.check_example(network, x)
    arguments.check_factor(variance_factor)
    rule = rule_of(network, x, task, calibration, inputs, None)
    x = x if inputs is None else Standardise(checked(inputs, x))(x)
    outputs = []
    with bayes.evaluating(network):
        mean, variance = bayes.propagate(network, x)
        for number in range(draws):
            with bayes.drawn(network, mix(seed, PREDICTING), number):
                outputs.append(call(network, x))
    wanted = _mean(rule.of_draws(torch.stack(outputs)).epistemic) * draws / (draws - 1)
    found = _epistemic(rule, mean, variance * variance_factor)
    if not wanted > 0:
        raise SzilardError(
            "the network's outputs are the same for all draws of its weights; compile its point"
        )
    plain, factor = _epistemic(rule, mean, variance), _factor(rule, mean, variance, wanted)
    return DrawsComparison(found, plain, wanted, factor, len(x), draws)


def _factor(rule: Rule, mean: Tensor, variance: Tensor, wanted: float) -> float:
    """The factor of a variance with which its mean epistemic uncertainty is the one that is wanted."""
    low, high = math.log(_LEAST), math.log(_MOST)
    if _epistemic(rule, mean, variance * _MOST) < wanted:
        raise SzilardError(
            "no factor of the variance gives one pass the epistemic uncertainty of draws; use mode samples"
        )
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _epistemic(rule, mean, variance * math.exp(middle)) < wanted:
            low = middle
        else:
            high = middle
    return math.exp(high)


def _epistemic(rule: Rule, mean: Tensor, variance: Tensor) -> float:
    return _mean(rule.of_moments(mean, variance).epistemic)


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
