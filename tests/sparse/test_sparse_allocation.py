"""Entries of each weight by multiply-adds, and by one threshold over trained weights."""

from __future__ import annotations

import math

import pytest
import torch
from cli_tools import szilard as typed
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard import bayes, cost, methods, networks
from szilard.errors import SzilardError
from szilard.sparse import allocate
from szilard.training import load_network

SHAPE = (3, 12, 12)


def resnet():
    return networks.build("resnet8", SHAPE, 10)


def nonzeros(network):
    return {name: weight.support.nnz for name, weight in bayes.weights(network).items()}


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=6),
    st.floats(0.001, 1.0),
)
@settings(max_examples=80)
def test_multiply_adds_meet_their_budget(layers, density):
    shapes, positions = [layer[:2] for layer in layers], [layer[2] for layer in layers]
    macs = [math.prod(layer) for layer in layers]
    kept = allocate(shapes, density, "flops", macs)
    assert all(1 <= k <= math.prod(shape) for k, shape in zip(kept, shapes, strict=True))
    spent = sum(k * p for k, p in zip(kept, positions, strict=True))
    budget = density * sum(macs)
    assert spent <= budget * (1 + 1e-8) or spent <= budget + sum(
        positions
    )  # one entry of each is always there
    free = [p for k, p, shape in zip(kept, positions, shapes, strict=True) if k < math.prod(shape)]
    assert not free or spent + min(free) > budget * (1 - 1e-8)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5), st.floats(0.01, 1)
)
@settings(max_examples=40)
def test_with_one_position_each_it_is_erk(shapes, density):
    macs = [math.prod(shape) for shape in shapes]
    ours, erk = (allocate(shapes, density, how, macs) for how in ("flops", "erk"))
    assert all(abs(a - b) <= len(shapes) for a, b in zip(ours, erk, strict=True))


def test_multiply_adds_of_layers_are_those_of_the_network():
    found = cost.layer_macs(resnet(), SHAPE)
    leaves = {name: found[name] for name in found if name.rpartition(".")[2] in ("conv1", "conv2", "linear")}
    assert found["conv1"] == 3 * 16 * 9 * 144
    assert found["layer3.0.conv2"] == 64 * 64 * 9 * 9
    assert sum(leaves.values()) == found[""] == cost.count(resnet(), SHAPE).macs
    assert cost.layer_macs(networks.outline("resnet8", SHAPE, 10), SHAPE) == found


def test_a_network_has_the_multiply_adds_that_were_asked_for():
    dense = cost.count(resnet(), SHAPE).macs
    made = {
        how: szilard.bayesianize(
            resnet(), 0.1, allocation=how, input_shape=SHAPE, dense_stem=False, point=True
        )
        for how in ("erk", "flops")
    }
    spent = {how: cost.count(network, SHAPE).macs / dense for how, network in made.items()}
    assert spent["flops"] == pytest.approx(0.1, abs=1e-4)
    assert spent["flops"] <= 0.1 < 1.3 * 0.1 < spent["erk"]


def test_one_threshold_keeps_the_largest_trained_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    network[2].weight.data.mul_(1.2)
    made = szilard.bayesianize(network, 0.2, allocation="global", point=True)
    weights = torch.cat([network[0].weight.detach().flatten(), network[2].weight.detach().flatten()]).abs()
    kept = torch.cat([weight.support.mask().flatten() for weight in bayes.weights(made).values()])
    assert int(kept.sum()) == 144
    assert weights[kept].min() >= weights[~kept].max()
    network[2].weight.data.mul_(1e-4)
    assert nonzeros(szilard.bayesianize(network, 0.2, allocation="global", point=True)) == {"0": 143, "2": 1}


@pytest.mark.parametrize(("how", "pretrained"), [("flops", False), ("global", True)])
def test_a_run_is_opened_again(tmp_path, how, pretrained):
    fit = (
        "fit", "--data", "digits", "--n-train", "40", "--network", "mlp:12", "--method", "rigl", "--no-baselines",
        "--density", "0.3", "--epochs", "1", "--batch-size", "20", "--samples", "1", "--ood", "none", "--accelerator",
        "cpu", "--quiet", "--option", f"allocation={how}", "--option", f"pretrained={str(pretrained).lower()}",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert typed(*fit).code == 0
    opened = load_network(tmp_path / "run" / "rigl" / "network.pt").network
    assert sum(nonzeros(opened).values()) == round(0.3 * (64 * 12 + 120))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: methods.RigL(9, allocation="flops").prepare(nn.Linear(3, 2)),
            "the shape of an input must be known",
        ),
        (
            lambda: methods.RigL(9, allocation="best"),
            "unknown allocation 'best': choose one of uniform, erk, flops",
        ),
        (
            lambda: methods.RigL(9, allocation="global").prepare(nn.Linear(3, 2)),
            "fresh ones are drawn at random",
        ),
        (lambda: methods.RigL(9, allocation="global", pattern="block4"), "takes no pattern block4"),
        (
            lambda: szilard.bayesianize(nn.LSTM(3, 4), 0.5, allocation="flops", input_shape=(5, 3)),
            r"not of the network \(LSTM\)",
        ),
        (lambda: allocate([(3, 3)], 0.5, "flops"), r"needs the shape of an input \(input_shape=\)"),
        (lambda: allocate([(3, 3)], 0.5, "global"), "needs trained weights"),
    ],
)
def test_what_cannot_be_allocated_is_refused(make, message):
    with pytest.raises(SzilardError, match=message):
        make()
