"""Posteriors of draws: what is kept and shared, weights, predictions and state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from szilard import bayes
from szilard.bayes.draws import Draws, point_copy
from szilard.errors import SzilardError


def mean(stacked):
    return stacked.mean(0)


def network():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return bayes.bayesianize(plain, 0.5)


@torch.no_grad()
def move(chain, step):
    generator = torch.Generator().manual_seed(step)
    for parameter in chain.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    chain.train()(torch.randn(16, 6, generator=generator))  # statistics of BatchNorm


def test_draws_keep_the_values_of_their_moment_and_share_supports():
    made = Draws(network(), 2, mean)
    x = torch.randn(5, 6)
    expected = []
    for step in range(2):
        move(made.chain, step)
        with bayes.mode(made.chain.eval(), "mean"):
            expected.append(made.chain(x))
        made.collect()
    move(made.chain, 9)
    made.eval()
    assert torch.equal(made(x), torch.stack(expected).mean(0))
    for member in made.in_use():
        assert all(weight.is_point for weight in bayes.weights(member).values())
        ours, theirs = (bayes.weights(one) for one in (made.chain, member))
        assert all(weight.support is theirs[name].support for name, weight in ours.items())
    with pytest.raises(SzilardError, match="all 2 draws of this posterior have been kept"):
        made.collect()


def test_before_the_first_draw_it_is_the_network_that_moves():
    made = Draws(network(), 2, mean).eval()
    x = torch.randn(5, 6)
    assert torch.equal(made(x), made.chain(x))
    assert made.weights is None


def test_only_the_chain_is_trained():
    made = Draws(network(), 2, mean)
    assert {id(p) for p in made.parameters() if p.requires_grad} == {id(p) for p in made.chain.parameters()}


def test_state_is_restored_with_shared_supports():
    made = Draws(network(), 2, mean)
    move(made.chain, 0)
    made.collect()
    made.log_weights.copy_(torch.tensor([0.5, -1.0]))
    other = Draws(network(), 2, mean)
    other.load_state_dict(made.state_dict())
    x = torch.randn(5, 6)
    assert torch.equal(other.eval()(x), made.eval()(x))
    assert other.done == 1
    one = next(iter(bayes.weights(other.members[1]).values()))
    assert one.support is next(iter(bayes.weights(other.chain).values())).support


def test_weights_have_sum_one_and_none_are_equal_ones():
    made = Draws(network(), 3, mean)
    for _ in range(3):
        made.collect()
    assert made.weights is None
    made.log_weights.copy_(torch.tensor([0.0, 1.0, 0.0]))
    assert torch.allclose(made.weights, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).softmax(0))


def test_a_copy_of_an_ordinary_network_has_its_values():
    plain = nn.Linear(3, 2)
    made = point_copy(plain)
    assert torch.equal(made.weight, plain.weight)
    assert not made.weight.requires_grad


def test_no_draws_are_refused():
    with pytest.raises(SzilardError, match="at least one draw"):
        Draws(network(), 0, mean)
