"""Ensembles of any method: members, their starts, predictions, refusals, and runs that continue bit for bit."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from szilard import bayes, methods
from szilard.errors import SzilardError

STEPS = 12


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 3))


def start(of="deterministic", task="classification", **options):
    given = {"members": 3, "total_steps": STEPS, "lr": 0.05, "seed": 1}
    method = methods.make("ensemble", 200, of=of, **{**given, **options})
    network = method.prepare(plain(), task).train()
    return method, network, method.optimizer(network)


def batch(step):
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(step))
    return x, (x[:, 0] > 0).long()


def train(method, network, optimizer, count):
    for _ in range(count):
        method.anneal(optimizer)
        method.loss(network, *batch(method.step)).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)


@pytest.mark.parametrize("of", ["deterministic", "ssvi", "mean-field", "rigl"])
def test_members_are_trained_from_different_weights(of):
    method, network, optimizer = start(of)
    train(method, network, optimizer, STEPS)
    assert network.done == 3
    method.finish(network, [batch(0)])
    found = method.predict(network, batch(99)[0], samples=6)
    assert found.n_samples == (6 if of in ("ssvi", "mean-field") else 3)
    values = [torch.cat([p.detach().flatten() for p in member.parameters()]) for member in network.members]
    assert all((one - two).abs().mean() > 0.02 for one, two in pairwise(values))


def test_the_first_member_is_the_method_alone():
    method, network, optimizer = start()
    train(method, network, optimizer, 4)
    alone = methods.make("deterministic", 200, total_steps=4, lr=0.05, seed=1)
    other = alone.prepare(plain()).train()
    train(alone, other, alone.optimizer(other), 4)
    for one, two in zip(network.members[0].parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_sparse_members_have_supports_of_their_own():
    method, network, optimizer = start("ssvi", density=0.3)
    train(method, network, optimizer, STEPS)
    one, two = (next(iter(bayes.weights(m).values())).support.flat() for m in network.members[:2])
    assert len(one) == len(two)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("of", ["deterministic", "ssvi"])
def test_a_run_that_continues_has_the_same_bits(of):
    method, network, optimizer = start(of)
    for stop in (2, 6, 8):
        train(method, network, optimizer, stop - method.step)
        again, other, second = start(of)
        other.load_state_dict(copy.deepcopy(network.state_dict()))
        second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        again.load_state_dict(copy.deepcopy(method.state_dict()))
        one, two = copy.deepcopy(method), copy.deepcopy((network, optimizer))
        train(again, other, second, STEPS - stop)
        train(one, *two, STEPS - stop)
        for name, value in other.state_dict().items():
            assert torch.equal(value, two[0].state_dict()[name]), (stop, name)


def test_states_that_are_wrong_are_seen():
    method, network, _ = start("ssvi")
    state = method.state_dict()
    assert method.invalid_part(state, network) == ""
    for key, value in (("member", 3), ("member", True), ("inner", {}), ("inner", None)):
        assert method.invalid_part({**state, key: value}, network) == key
    for key, value in (("step", -1), ("total_steps", 0.5), ("task", "other"), ("moves", [])):
        assert method.invalid_part({**state, "inner": {**state["inner"], key: value}}, network) == "inner"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"members": 0}, "members must be"),
        ({"of": "nothing"}, "there is no method 'nothing'"),
        ({"of": "ensemble"}, "there is no method 'ensemble'"),
        ({"of": "free-tickets"}, "free tickets keeps several networks"),
        ({"of": "sgld"}, "SGLD keeps several networks"),
        ({"of": "mean-field", "density": 0.5}, "takes no density"),
    ],
)
def test_bad_options(given, message):
    with pytest.raises(SzilardError, match=message):
        methods.make("ensemble", 100, **given)


def test_too_few_steps_and_an_early_end_are_said():
    method, network, optimizer = start()
    with pytest.raises(SzilardError, match="2 steps are too few for 3 members"):
        method.check_run(2, 1, 16)
    train(method, network, optimizer, 5)
    with pytest.raises(SzilardError, match="1 of 3 members"):
        method.finish(network, [batch(0)])


def test_the_global_generator_is_left_alone():
    method, network, optimizer = start()
    before = torch.get_rng_state()
    train(method, network, optimizer, STEPS)
    assert torch.equal(torch.get_rng_state(), before)
