"""Supports with another number of entries: values and optimisers follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from szilard import bayes
from szilard.sparse import Support
from szilard.topology import resize


def network(point=True):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return bayes.bayesianize(made, 0.5, point=point, seed=0)


OPTIMIZERS = [
    pytest.param(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), id="sgd"),
    pytest.param(lambda p: torch.optim.Adam(p, lr=0.01), id="adam"),
    pytest.param(lambda p: torch.optim.Adam(p, lr=0.01, fused=True), id="fused adam"),
    pytest.param(lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True), id="amsgrad"),
]


def step(made, optimizer, seed=0):
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))
    made(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("point", [True, False])
@pytest.mark.parametrize("make", OPTIMIZERS)
def test_survivors_keep_values_and_state(make, point):
    made = network(point)
    optimizer = make(made.parameters())
    for seed in range(3):
        step(made, optimizer, seed)
    (weight, other) = bayes.weights(made).values()
    before = {name: parameter.detach().clone() for name, parameter in weight.named_parameters(recurse=False)}
    states = {
        name: {
            key: value.clone() for key, value in optimizer.state[parameter].items() if torch.is_tensor(value)
        }
        for name, parameter in weight.named_parameters(recurse=False)
    }
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    old = weight.support.flat()
    flat = (
        torch.cat([old[::2], torch.tensor([i for i in range(48) if i not in set(old.tolist())][:5])])
        .sort()
        .values
    )
    move = resize(weight, flat, [optimizer])
    assert torch.equal(weight.support.flat(), flat)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == count
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    stayed = ~move.new
    for name, parameter in weight.named_parameters(recurse=False):
        assert id(parameter) in held
        assert parameter.shape == (len(flat),)
        assert torch.equal(parameter[stayed], before[name][move.source[stayed]])
        for key, value in states[name].items():
            found = optimizer.state[parameter][key]
            if value.shape == before[name].shape:
                assert torch.equal(found[stayed], value[move.source[stayed]])
                fresh = found[move.new]
                assert torch.equal(fresh, torch.zeros_like(fresh)) or key in ("exp_avg_sq", "max_exp_avg_sq")
            else:
                assert torch.equal(found, value)
    assert bool((weight.mean[move.new] == 0).all())
    assert id(other.mean) in held
    step(made, optimizer)  # still trains
    assert bool((weight.mean[move.new] != 0).any())


def test_frozen_parameters_stay_frozen():
    made = network()
    (weight, _) = bayes.weights(made).values()
    weight.mean.requires_grad_(False)
    resize(weight, weight.support.flat()[:3])
    assert not weight.mean.requires_grad
    assert weight.support.nnz == 3


def test_another_support_of_a_frozen_weight_is_frozen():
    made = network(point=False)
    (weight, other) = bayes.weights(made).values()
    weight.requires_grad_(False)
    for one in (weight, other):
        one.set_support(Support.full(one.support.shape))
    assert [p.requires_grad for p in weight.parameters()] == [False, False]
    assert [p.requires_grad for p in other.parameters()] == [True, True]


def test_an_empty_support_can_grow():
    made = network()
    (weight, _) = bayes.weights(made).values()
    resize(weight, torch.empty(0, dtype=torch.int64))
    assert weight.support.nnz == 0
    resize(weight, torch.tensor([1, 5]))
    assert weight.mean.tolist() == [0, 0]
