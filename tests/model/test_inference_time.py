"""Latency of a trained network in Python: what runs, and where its figure goes."""

from __future__ import annotations

import pytest
import torch
from fake_clock import Ticking
from torch import nn

import szilard
from szilard import data, networks
from szilard.bayes import bayesianize
from szilard.bayes.modes import evaluating
from szilard.cost import Source, clock
from szilard.errors import SzilardError
from szilard.model import inference_time


@pytest.fixture
def ticking(monkeypatch):
    monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6))


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_measure_adds_the_figure_if_it_is_asked_for(ticking):
    digits = data.load("digits")
    _, without = szilard.measure(network(), digits)
    assert without.seconds_per_inference is None
    _, cost = szilard.measure(network(), digits, latency=True, batch=3, threads=2)
    assert (cost.seconds_per_inference, cost.inference_batch, cost.inference_threads) == (2**-6, 3, 2)
    assert cost.macs == without.macs == 640
    assert cost.SOURCES["seconds_per_inference"] is Source.MEASURED


def test_measure_refuses_a_noisy_machine(monkeypatch):
    monkeypatch.setattr(clock, "CLOCK", Ticking(2**-6, share=0.1))
    with pytest.raises(SzilardError, match="too noisy"):
        szilard.measure(network(), data.load("digits"), latency=True)


def test_classes_are_those_of_the_original():
    original = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.ReLU(),
        nn.Linear(5, 2),
    ).eval()  # fmt: skip
    sparse = bayesianize(original, 0.5).eval()
    before = [type(module) for module in sparse.modules()]
    plain = inference_time.plain(sparse)
    assert [type(module) for module in plain.modules()] == [type(module) for module in original.modules()]
    assert [type(module) for module in sparse.modules()] == before
    resnet = networks.build("resnet20", (1, 8, 8), 10)
    kinds = {type(module) for module in inference_time.plain(bayesianize(resnet, 0.5)).modules()}
    assert kinds == {type(module) for module in resnet.modules()}


def test_a_sparse_network_runs_in_dense_layers_of_torch():
    sparse = bayesianize(network(), 0.1, fresh=True)
    plain = inference_time.plain(sparse)
    assert [type(module) for module in plain] == [nn.Flatten, nn.Linear]
    x = torch.randn(1, 64)
    with evaluating(sparse), torch.no_grad():
        expected = sparse(x)
    assert torch.allclose(inference_time.runtime(sparse, x).run(), expected, atol=1e-6)


def test_what_cannot_run(ticking):
    with pytest.raises(SzilardError, match="batch must be at least 1, not 0"):
        inference_time.runtime(network(), (64,), batch=0)
    attention = bayesianize(nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)), 0.5)
    with pytest.raises(SzilardError, match="stochastic attention"):
        inference_time.measured(attention, (5, 8))
