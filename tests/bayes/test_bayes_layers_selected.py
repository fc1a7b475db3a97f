"""Which weights become Gaussian, at which density, and how the layers are labelled."""

from __future__ import annotations

import warnings

import pytest
import torch
from bare_layers import Bare, quiet
from torch import nn
from torch.nn.utils import prune

from szilard import SzilardError, SzilardWarning, bayes, methods
from szilard.bayes import bayesianize


def test_frozen_weights_stay_as_they_are():
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LSTM(8, 3), nn.Linear(3, 2))
    for parameter in [*network[0].parameters(), network[2].weight_hh_l0, network[3].bias]:
        parameter.requires_grad_(False)
    found = quiet(network, 0.5)
    assert torch.equal(found[0].weight, network[0].weight)
    assert torch.equal(found[2].weight_hh_l0, network[2].weight_hh_l0)
    assert list(bayes.weights(found)) == ["2.weight_ih_l0", "3"]
    frozen = {name for name, p in found.named_parameters() if not p.requires_grad}
    assert frozen == {"0.weight", "0.bias", "2.weight_hh_l0", "3.bias"}
    whole = bayesianize(nn.Linear(4, 2).requires_grad_(False))
    assert not any(p.requires_grad for p in whole.parameters())
    with pytest.raises(SzilardError, match="frozen"):
        methods.MeanField(10).optimizer(whole)


@pytest.mark.parametrize(
    ("choice", "want"),
    [
        ({"only": "head"}, ["head"]),
        ({"only": "body.*"}, ["body.0", "body.1.weight_ih_l0", "body.1.weight_hh_l0"]),
        ({"only": ["head", "*.weight_hh_l0"]}, ["body.1.weight_hh_l0", "head"]),
        ({"except_": ["body.1"]}, ["body.0", "head"]),
        ({"except_": "*_ih_*"}, ["body.0", "body.1.weight_hh_l0", "head"]),
        ({"only": lambda name, module: isinstance(module, nn.Linear)}, ["body.0", "head"]),
        ({"only": "body", "except_": "body.0"}, ["body.1.weight_ih_l0", "body.1.weight_hh_l0"]),
        ({"only": "head", "matrices": "extra"}, ["extra", "head"]),
        ({"only": ["extra", "head"]}, ["extra", "head"]),
    ],
)
def test_only_and_except_select_weights(choice, want):
    network = nn.Module()
    network.extra = nn.Parameter(torch.ones(2, 3))
    network.body, network.head = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 3)), nn.Linear(3, 2)
    found = quiet(network, 0.5, **choice)
    assert sorted(bayes.weights(found)) == sorted(want)
    for name, parameter in found.named_parameters():
        if not any(name.startswith(one.rsplit(".weight", 1)[0]) for one in want) and "extra" not in name:
            assert torch.equal(parameter, network.get_parameter(name))


def test_patterns_that_match_nothing_are_refused():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(SzilardError, match="only names 'haed'"):
        bayesianize(network, only="haed")
    with pytest.raises(SzilardError, match="exclude all weights"):
        bayesianize(network, except_="*")
    with pytest.raises(SzilardError, match="a list of patterns"):
        bayesianize(network, only=[3])
    with pytest.raises(SzilardError, match="no shape yet"):
        bayesianize(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(SzilardError, match="TorchScript"):
        bayesianize(torch.jit.script(network))


def test_weights_that_stay_dense_are_named_and_counted():
    network = nn.Sequential(Bare(), prune.l1_unstructured(nn.Linear(2, 2), "weight", 0.5))
    with pytest.warns(
        SzilardWarning, match=r"0\.matrix \(a matrix of no known layer\).*16 of the network's 22 weights"
    ):
        found = bayesianize(network, 0.5)
    counted = bayes.density(found, 0.5)
    assert (counted.existing, counted.converted, counted.dense) == (3, 6, 16)
    assert counted.left == ("0.matrix", "1.weight_orig")
    assert str(counted) == "86.4 % (asked 50 %)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bayesianize(network, 0.5, except_=["0.matrix", "1"])
        bayesianize(network, point=True)
    named = quiet(network, 0.5, matrices="*.matrix")
    assert bayes.density(named).of_converted == 0.5
    with pytest.warns(SzilardWarning, match="a density of 0.5 saves bytes there and no time"):
        bayesianize(nn.LSTM(4, 3), 0.5)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.5])
def test_the_requested_density_is_achieved(density):
    network = nn.Sequential(
        nn.Embedding(100, 16), nn.LSTM(16, 24, 2), nn.Conv3d(4, 8, 3), nn.Bilinear(8, 8, 8), nn.Linear(64, 64)
    )
    counted = bayes.density(quiet(network, density), density)
    assert counted.of_all == pytest.approx(density, rel=0.01)
    assert counted.left == ()


def test_a_file_determines_which_weights_are_converted():
    """Files written before LSTMs were converted, and before frozen layers stayed dense, still open."""
    network = nn.Sequential(nn.LSTM(4, 3), nn.Linear(3, 2))
    old = {"0.weight_ih_l0", "1.weight.mean", "1.weight.support.crow"}
    assert list(bayes.weights(bayesianize(network, 0.5, stored=old))) == ["1"]
    network[1].requires_grad_(False)
    assert list(bayes.weights(bayesianize(network, 0.5, stored=old))) == ["1"]
    assert list(bayes.weights(quiet(network, 0.5))) == ["0.weight_ih_l0", "0.weight_hh_l0"]


def test_labels_state_the_achieved_and_the_requested_density():
    method = methods.SSVI(10, density=0.1, except_="0")
    network = nn.Sequential(nn.Linear(20, 10), nn.Linear(10, 20))
    assert methods.label(method) == "SSVI, 10 % of weights"
    assert methods.label(method, method.prepare(network)) == "SSVI, 55 % of weights (asked 10 %)"
    whole = methods.SSVI(10, density=0.1)
    assert methods.label(whole, whole.prepare(network)) == "SSVI, 10 % of weights"
