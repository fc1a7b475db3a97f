"""Entries that move between weights: exact shares, by mean momentum, with values and optimiser state."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from szilard import bayes, cost, methods
from szilard.errors import SzilardError
from szilard.topology import divided
from szilard.training import total_cost


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50)), min_size=1, max_size=8), st.data())
@settings(max_examples=80)
def test_shares_are_exact_and_within_their_room(pairs, data):
    scores, room = (list(part) for part in zip(*pairs, strict=True))
    total = data.draw(st.integers(0, sum(room)))
    found = divided(total, scores, room)
    assert sum(found) == total
    assert all(0 <= share <= most for share, most in zip(found, room, strict=True))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 40))
@settings(max_examples=40)
def test_without_limits_a_share_is_proportional_to_less_than_one_entry(scores, total):
    found = divided(total, scores, [1000] * len(scores))
    for share, score in zip(found, scores, strict=True):
        assert abs(share - Fraction(total * score, sum(scores))) < 1


def test_known_shares():
    assert divided(10, [3, 1, 1], [100, 100, 100]) == [6, 2, 2]
    assert divided(10, [3, 1, 1], [2, 100, 100]) == [2, 4, 4]  # what a full share cannot take
    assert divided(5, [0, 0], [4, 6]) == [2, 3]
    assert divided(3, [1, 0, 0], [1, 1, 1]) == [1, 1, 1]
    assert divided(1, [1, 1], [9, 9]) == [1, 0]  # a tie


@pytest.mark.parametrize("score", [math.nan, math.inf, -1.0])
def test_a_score_that_is_no_size_is_refused(score):
    with pytest.raises(SzilardError, match="mean momentum is NaN or infinite"):
        divided(3, [1.0, score], [5, 5])


def test_more_than_the_room_is_refused():
    with pytest.raises(SzilardError, match="11 entries cannot be divided into shares of at most 10"):
        divided(11, [1.0, 1.0], [5, 5])


# -- sparse momentum -----------------------------------------------------------------------------------------


def start(**options):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
    given = {"density": 0.2, "every": 4, "fraction": 0.3, "total_steps": 12, "lr": 0.1, "optimizer": "sgd"}
    method = methods.SNFS(200, **{**given, **options})
    network = method.prepare(network).train()
    return method, network, method.optimizer(network)


def batch(step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(16, 12, generator=generator)
    return x, (x[:, 0] > 0).long()


def steps(method, network, optimizer, count, after=True):
    for _ in range(count):
        method.loss(network, *batch(method.step)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if after:
            method.after_step(network, optimizer)


def test_new_entries_follow_the_mean_momentum():
    """The first move, against the definition computed with dense tensors."""
    method, network, optimizer = start()
    held = list(bayes.weights(network).values())
    momenta = [torch.zeros(weight.support.rows, weight.support.cols) for weight in held]
    for step in range(4):
        dense = bayes.point_network(network)
        x, y = batch(step)
        nn.functional.cross_entropy(dense(x), y).backward()
        for number, layer in enumerate((dense[0], dense[2], dense[4])):
            momenta[number] = 0.9 * momenta[number] + layer.weight.grad
        steps(method, network, optimizer, 1, after=step < 3)
    before = [weight.support.flat().clone() for weight in held]
    values = [weight.mean.detach().clone() for weight in held]
    kept = []
    for flat, value in zip(before, values, strict=True):
        count = len(flat) - math.floor(method.moves.schedule.fraction_at(4, 12) * len(flat))
        kept.append(flat[value.abs().sort(descending=True, stable=True).indices[:count]])
    means = [float(m.flatten()[flat].abs().mean()) for m, flat in zip(momenta, before, strict=True)]
    dropped = sum(map(len, before)) - sum(map(len, kept))
    grown = divided(dropped, means, [m.numel() - len(k) for m, k in zip(momenta, kept, strict=True)])
    method.after_step(network, optimizer)
    assert len(set(grown)) > 1
    for weight, momentum, stay, count, flat, value in zip(
        held, momenta, kept, grown, before, values, strict=True
    ):
        score = momentum.abs().flatten()
        score[stay] = -1
        expected = torch.cat([stay, score.topk(count).indices]).sort().values
        assert torch.equal(weight.support.flat(), expected)
        old = dict(zip(flat.tolist(), value.tolist(), strict=True))
        assert weight.mean.tolist() == [old.get(index, 0.0) for index in expected.tolist()]
        state = optimizer.state[weight.mean]["momentum_buffer"]
        fresh = torch.tensor([index not in old for index in expected.tolist()])
        assert bool((state[fresh] == 0).all())
        assert bool((state[~fresh] != 0).any())


def test_layers_exchange_entries_and_the_total_is_constant():
    method, network, optimizer = start()
    counts = []
    for _ in range(12):
        steps(method, network, optimizer, 1)
        counts.append([weight.support.nnz for weight in bayes.weights(network).values()])
    assert {sum(count) for count in counts} == {140}
    assert len({tuple(count) for count in counts}) == 3  # moves after steps 4 and 8
    assert method.mean_entries == pytest.approx(
        [sum(column) / 12 for column in zip([47, 59, 34], *counts[:-1], strict=True)]
    )


def test_a_full_layer_gives_entries_away(monkeypatch):
    without = lambda growth, support: float(support.rows != 3)  # noqa: E731
    monkeypatch.setattr("szilard.topology.redistribution._mean_magnitude", without)
    method, network, optimizer = start(density=0.4)
    last = network[4].weight
    assert last.support.is_full
    steps(method, network, optimizer, 4)
    assert last.support.nnz == 60 - 13  # 22.5 % go


def test_dense_gradients_of_full_layers_are_counted():
    method, network, optimizer = start(density=0.4)
    steps(method, network, optimizer, 12)
    spent = total_cost.of_run(network, (12,), method, batches=[16], seconds=1.0, peak_bytes=0)
    dense = 12 * 20 + 20 * 20 + 20 * 3
    gradients = 8 * 16 * 2 * dense  # of the eight steps before the last move
    assert spent.train_flops == round(3 * 2 * 12 * 16 * 0.4 * dense) + gradients


def test_frozen_layers_have_no_growth_gradient():
    sparse = bayes.bayesianize(nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4)), 0.5, point=True)
    known = cost.training_flops(sparse, (6,), examples=1, growth_examples=1)
    sparse[0].weight.requires_grad_(False)
    frozen = cost.training_flops(sparse, (6,), examples=1, growth_examples=1)
    assert known - frozen == 2 * 6 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"growth": "gradient"}, "SNFS grows and divides entries by the momentum, not by 'gradient'"),
        ({"pattern": "block4"}, "SNFS removes single weights and takes no pattern block4"),
        ({"fraction": 1.5}, "fraction and end in"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(SzilardError, match=message):
        methods.SNFS(100, **options)


def test_a_move_without_its_optimizer_is_refused():
    method, network, optimizer = start()
    steps(method, network, optimizer, 3)
    steps(method, network, optimizer, 1, after=False)
    with pytest.raises(SzilardError, match=r"call method\.after_step"):
        method.after_step(network)
