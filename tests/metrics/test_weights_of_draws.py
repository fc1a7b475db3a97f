"""Weights of draws in predictions and metrics."""

from __future__ import annotations

import math

import pytest
import torch

from szilard.errors import SzilardError
from szilard.metrics import Predictive, evaluate
from szilard.metrics.quantities import mixture_nll, within95

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(4, 30, 3, generator=GENERATOR, dtype=torch.float64)
MEANS = torch.randn(4, 30, generator=GENERATOR, dtype=torch.float64)
VARIANCES = torch.rand(4, 30, generator=GENERATOR, dtype=torch.float64) + 0.1
CLASSES = torch.arange(30) % 3
VALUES = torch.randn(30, generator=GENERATOR, dtype=torch.float64)
EQUAL, CHOSEN = torch.ones(4), torch.tensor([2.0, 0.0, 1.0, 1.0])


def both():
    return [
        (Predictive.from_logits(LOGITS), CLASSES),
        (Predictive.from_binary_logits(LOGITS), (LOGITS[0] > 0).long()),
        (Predictive.from_gaussian(MEANS, VARIANCES), VALUES),
        (Predictive.from_gaussian(MEANS.view(4, 10, 3), VARIANCES.view(4, 10, 3)), VALUES.view(10, 3)),
    ]


@pytest.mark.parametrize(("predictive", "y"), both())
def test_equal_weights_change_no_metric(predictive, y):
    plain, weighted = evaluate(predictive, y), evaluate(predictive.weighted(EQUAL), y)
    assert plain.keys() == weighted.keys()
    for name, value in plain.items():
        assert weighted[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize(("predictive", "y"), both())
def test_a_weight_of_two_is_a_draw_that_is_there_twice(predictive, y):
    repeated = predictive.of_draws(torch.tensor([0, 0, 2, 3]))
    found, expected = evaluate(predictive.weighted(CHOSEN), y), evaluate(repeated, y)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_density_and_distribution_are_those_of_the_weighted_mixture():
    made = Predictive.from_gaussian(MEANS, VARIANCES).weighted(CHOSEN)
    shares = (CHOSEN / 4).double()
    normal = torch.distributions.Normal(MEANS, VARIANCES.sqrt())
    density = (shares[:, None] * normal.log_prob(VALUES).exp()).sum(0)
    assert torch.allclose(mixture_nll(made, VALUES), -density.log())
    below = (shares[:, None] * normal.cdf(VALUES)).sum(0)
    assert torch.equal(within95(made, VALUES), ((below > 0.025) & (below < 0.975)).double())
    assert torch.allclose(made.variance, made.aleatoric() + made.epistemic())


def test_chosen_draws_keep_the_ratio_of_their_weights():
    made = Predictive.from_logits(LOGITS).weighted(CHOSEN)
    assert made.of_draws(torch.tensor([0, 3])).weights.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert made.of_inputs(5).weights is made.weights
    assert made.weighted(None).weights is None


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), "4 draws need as many weights"),
        (torch.tensor([-1.0, 1, 1, 1]), "at least 0"),
        (torch.zeros(4), "add up to 1"),
        (torch.full((4,), math.nan), "add up to 1"),
    ],
)
def test_weights_that_are_none(weights, message):
    with pytest.raises(SzilardError, match=message):
        Predictive.from_logits(LOGITS).weighted(weights)
