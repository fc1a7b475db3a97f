"""Priors of all parameters of a network: their scales, densities and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from szilard import bayes
from szilard.bayes.log_prior import log_prior, parameter_priors
from szilard.errors import SzilardError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def by_name(network, **given):
    return {one.name: (one.mean, one.std) for one in parameter_priors(network, **given)}


def test_ordinary_parameters():
    found = by_name(network(), scale=2.0)
    assert found == {
        "0.weight": (0.0, 2 / math.sqrt(6)), "0.bias": (0.0, 1.0), "1.weight": (1.0, 1.0), "1.bias": (0.0, 1.0),
        "3.weight": (0.0, 2 / math.sqrt(8)), "3.bias": (0.0, 1.0),
    }  # fmt: skip
    assert by_name(network(), scale=2.0, fan_in=False)["3.weight"] == (0.0, 2.0)
    transposed = nn.Sequential(nn.ConvTranspose2d(4, 5, 3))
    assert by_name(transposed)["0.weight"] == (0.0, 1 / math.sqrt(4 * 9))
    assert by_name(nn.Sequential(nn.Embedding(9, 4)))["0.weight"] == (0.0, 1.0)


def test_the_density_is_that_of_normal_distributions():
    made = network()
    priors = parameter_priors(made)
    expected = torch.stack([
        torch.distributions.Normal(one.mean, one.std).log_prob(one.parameter).sum()
        + one.parameter.numel() * (0.5 * math.log(2 * math.pi) + math.log(one.std))
        for one in priors
    ]).sum()  # fmt: skip
    assert log_prior(priors).item() == pytest.approx(expected.item(), rel=1e-5)
    log_prior(priors).neg().mul(0.3).backward()
    for one in priors:
        expected = 0.3 * (one.parameter.detach() - one.mean) / one.std**2
        assert torch.allclose(one.parameter.grad, expected, atol=1e-6)


def test_weights_on_supports_have_the_priors_that_they_hold():
    made = bayes.bayesianize(network(), 0.5, prior="fan-in", prior_scale=3.0)
    found, weights = by_name(made), bayes.weights(made)
    for name, weight in weights.items():
        assert found[f"{name}.weight.mean"] == (0.0, 3.0 / math.sqrt(weight.fan_in))
    assert not any("log_std" in name for name in found)
    source = bayes.SourcePrior(torch.full((8, 6), 0.5), torch.full((8, 6), -1.0))
    weights["0"].set_prior(source)
    mean, std = by_name(made)["0.weight.mean"]
    assert torch.equal(mean, torch.full((weights["0"].support.nnz,), 0.5))
    assert torch.allclose(std, torch.tensor(-1.0).exp())


def test_a_prior_without_density_is_refused_by_the_name_of_its_layer():
    made = bayes.bayesianize(network(), 0.5, prior="learned")
    with pytest.raises(SzilardError, match=r"prior of 0 \(LearnedPrior\) has no density"):
        parameter_priors(made)


def test_frozen_parameters_have_no_prior():
    made = network()
    made[0].requires_grad_(False)
    assert not any(name.startswith("0.") for name in by_name(made))
