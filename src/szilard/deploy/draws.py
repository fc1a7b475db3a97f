"""Epistemic uncertainty of one pass beside that of draws, and the factor of the variance with which both are equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.noise import PREDICTING, mix
from szilard.deploy import arguments
from szilard.deploy.rules import rule_of
from szilard.deploy.uncertainty import Answer, Rule
from szilard.deploy.units import Standardise, Units, checked
from szilard.errors import SzilardError
from szilard.likelihood import Likelihood
from szilard.likelihood.targets import TaskName
from szilard.metrics.jackknife import jackknife_error, ratio_error
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
        draws: the same over draws, of which a finite number has slightly too little: for one network corrected by
            S / (S - 1).
        ratio_error: standard error of :attr:`ratio`, because the numbers of draws and of inputs are finite. All inputs
            have the same draws, so that more inputs alone do not make it small.
        factor: multiplies the variance of the outputs of one pass; with it, both are equal. Of an ensemble: one for
            each member, with which this member's uncertainties are equal.
        inputs: number of inputs.
        count: S, the number of draws of each network.
    """

    one_pass: float
    unmatched: float
    draws: float
    ratio_error: float
    factor: float | tuple[float, ...]
    inputs: int
    count: int

    @property
    def ratio(self) -> float:
        """Epistemic uncertainty of one pass, divided by that of draws."""
        return self.one_pass / self.draws


@torch.no_grad()
def compare_with_draws(
    network: nn.Module | Sequence[nn.Module],
    x: Tensor,
    *,
    task: TaskName | Likelihood = "classification",
    calibration: float = 1.0,
    inputs: Units | None = None,
    variance_factor: float | Sequence[float] = 1.0,
    draws: int = DRAWS,
    seed: int = 0,
) -> DrawsComparison:
    """Compare the epistemic uncertainty of one pass with that of draws, on inputs like those to predict.

    One pass treats most units of a layer as independent. Where they are not, it has another uncertainty than draws,
    usually less. ``compile(..., variance_factor=found.factor)`` corrects its mean. The draws of an ensemble are those
    of all its members, so that the disagreement of members counts in both.

    Args:
        network: Bayesian, in eval mode; other threads must not use it meanwhile. A list of networks: an ensemble, of
            which at least one is Bayesian.
        x: inputs ``[N, *shape]`` in the user's units that were not trained on; some 50 are enough.
        task, calibration, inputs: as of :func:`szilard.deploy.compile`.
        variance_factor: of the one pass that is compared; for an ensemble also one for each member.
        draws: number of draws, at least 2.
        seed: of the draws.

    Raises:
        SzilardError: a network without Gaussian weights or in training mode, fewer than two draws, or a network whose
            weights are Gaussian but whose outputs do not vary.
    """
    if draws < 2:
        raise SzilardError(f"draws must be at least 2, not {draws}: one draw has no uncertainty")
    members = arguments.members_of(network)
    mode = arguments.mode_for(members, "ensemble" if len(members) > 1 else "moments")
    if not any(arguments.is_bayesian(member) for member in members):
        raise SzilardError(
            "no network of the ensemble has Gaussian weights, so that there is nothing to draw"
        )
    for member in members:
        arguments.check_example(member, x)
    factors = arguments.factors_of(variance_factor, members, mode)
    rule = rule_of(members[0], x, task, calibration, inputs, None)
    x = x if inputs is None else Standardise(checked(inputs, x))(x)
    moments, outputs = [], []
    for place, member in enumerate(members):
        with bayes.evaluating(member):
            moments.append(_moments(member, x))
            outputs.append(_outputs(member, x, range(place * draws, (place + 1) * draws), seed))
    alone = [_mean(rule.of_draws(one).epistemic) for one in outputs]
    if not max(alone) > 0:
        raise SzilardError(
            "the network's outputs are the same for all draws of its weights; compile its point"
        )
    fitted = tuple(
        _factor(rule, *pair, one * draws / (draws - 1)) if one > 0 else 1.0
        for pair, one in zip(moments, alone, strict=True)
    )
    found, wanted = _epistemic(rule, moments, factors), _epistemic_of_draws(rule, outputs)
    of_draws = jackknife_error(lambda kept: _epistemic_of_draws(rule, [one[kept] for one in outputs]), draws)
    of_inputs = ratio_error(found, rule.of_draws(torch.cat(outputs)).epistemic)
    return DrawsComparison(
        _mean(found),
        _mean(_epistemic(rule, moments, [1.0] * len(members))),
        wanted,
        math.hypot(_mean(found) / wanted * of_draws / wanted, of_inputs),
        fitted[0] if mode == "moments" else fitted,
        len(x),
        draws,
    )


def _moments(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the outputs in one pass; a network without Gaussian weights has no variance."""
    if arguments.is_bayesian(network):
        mean, variance = bayes.propagate(network, x)
        return mean, variance
    output = call(network, x)
    return output, torch.zeros_like(output)


def _outputs(network: nn.Module, x: Tensor, draws: range, seed: int) -> Tensor:
    """Outputs of draws of the weights ``[S, N, ...]``, for each member of other numbers: equal ones have equal noise.

    Args:
        draws: numbers of the draws.
    """
    if not arguments.is_bayesian(network):
        output: Tensor = call(network, x)
        return output.expand(len(draws), *output.shape)
    found = []
    for number in draws:
        with bayes.drawn(network, mix(seed, PREDICTING), number):
            found.append(call(network, x))
    return torch.stack(found)


def _epistemic_of_draws(rule: Rule, outputs: Sequence[Tensor]) -> float:
    """Mean epistemic uncertainty of K networks from S draws of each, ``[S, N, ...]``, as of infinitely many.

    Their draws have within / (K S) too little variance, where within is the members' mean variance.
    """
    alone = [_mean(rule.of_draws(one).epistemic) for one in outputs]
    missing = sum(alone) / len(alone) / (len(outputs) * (len(outputs[0]) - 1))
    return _mean(rule.of_draws(torch.cat(list(outputs))).epistemic) + missing


def _factor(rule: Rule, mean: Tensor, variance: Tensor, wanted: float) -> float:
    """The factor of a variance with which its mean epistemic uncertainty is the one that is wanted."""
    low, high = math.log(_LEAST), math.log(_MOST)
    if _of_one(rule, mean, variance * _MOST) < wanted:
        raise SzilardError(
            "no factor of the variance gives one pass the epistemic uncertainty of draws; use mode samples"
        )
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _of_one(rule, mean, variance * math.exp(middle)) < wanted:
            low = middle
        else:
            high = middle
    return math.exp(high)


def _epistemic(rule: Rule, moments: Sequence[tuple[Tensor, Tensor]], factors: Sequence[float]) -> Tensor:
    """Epistemic uncertainty ``[N, ...]`` of the mixture of several Gaussian outputs."""
    answers: list[Answer] = [
        rule.of_moments(mean, variance * factor)
        for (mean, variance), factor in zip(moments, factors, strict=True)
    ]
    return (answers[0] if len(answers) == 1 else rule.of_several(answers)).epistemic


def _of_one(rule: Rule, mean: Tensor, variance: Tensor) -> float:
    return _mean(_epistemic(rule, [(mean, variance)], [1.0]))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
