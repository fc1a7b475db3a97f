"""Lottery tickets of posteriors: what each level removes, and what rewinds."""

from __future__ import annotations

import copy
from itertools import islice

import pytest
import torch
from torch import nn

from szilard import bayes, methods
from szilard.errors import SzilardError
from szilard.topology.rewind import snapshot

PHASE, DENSE = 8, 12 * 20 + 20 * 3


def batches():
    generator = torch.Generator().manual_seed(0)
    while True:
        x = torch.randn(16, 12, generator=generator)
        yield x, (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 1).long()


def start(**options):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 3))
    options = {"density": 0.25, "prune": 0.5, "rewind": 0.25, "lr": 0.05, "total_steps": 3 * PHASE, **options}
    method = methods.PosteriorTickets(200, seed=1, **options)
    network = method.prepare(network).train()
    return method, network, method.optimizer(network)


def step(method, network, optimizer):
    x, y = next(islice(batches(), method.step, None))
    method.anneal(optimizer)
    method.loss(network, x, y).backward()
    optimizer.step()
    optimizer.zero_grad()


def train(method, network, optimizer, count):
    for _ in range(count):
        step(method, network, optimizer)
        method.after_step(network, optimizer)


def weights(network):
    return list(bayes.weights(network).values())


SCORES = {"snr": lambda w: w.mean.abs() / w.std, "magnitude": lambda w: w.mean.abs()}


@pytest.mark.parametrize("score", SCORES)
def test_a_level_removes_the_lowest_scores_and_rewinds_means_and_deviations(score):
    method, network, optimizer = start(score=score)
    train(method, network, optimizer, 2)
    values = snapshot(network)
    train(method, network, optimizer, PHASE - 3)
    step(method, network, optimizer)
    scores = {
        name: torch.cat([found(w).detach() for w in weights(network)]) for name, found in SCORES.items()
    }
    method.after_step(network, optimizer)
    kept = torch.cat([w.support.mask().flatten() for w in weights(network)])
    assert int(kept.sum()) == DENSE // 2
    lowest = {name: bool(found[kept].min() >= found[~kept].max()) for name, found in scores.items()}
    assert lowest == {name: name == score for name in SCORES}
    for name, weight in bayes.weights(network).items():
        for leaf in ("mean", "log_std"):
            assert torch.equal(getattr(weight, leaf), values[f"{name}.weight.{leaf}"][weight.support.flat()])
    train(method, network, optimizer, 2 * PHASE)
    assert sum(w.support.nnz for w in weights(network)) == DENSE // 4
    assert method.last_cost > 0
    assert method.predict(network, next(batches())[0], samples=3).n_samples == 3


@pytest.mark.parametrize("steps", [1, PHASE + 3])
def test_a_run_in_two_halves_equals_a_run_in_one(steps):
    whole, network, optimizer = start()
    train(whole, network, optimizer, 2 * PHASE)
    first, half, before = start()
    train(first, half, before, steps)
    kept = copy.deepcopy((first.state_dict(), half.state_dict(), before.state_dict()))
    second, again, _ = start()
    second.match_supports(again, kept[1])
    after = second.optimizer(again)
    again.load_state_dict(kept[1])
    after.load_state_dict(kept[2])
    second.load_state_dict(kept[0])
    train(second, again, after, 2 * PHASE - steps)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_an_unknown_score_is_refused():
    with pytest.raises(SzilardError, match="unknown removal score 'best': choose one of magnitude, snr"):
        start(score="best")
