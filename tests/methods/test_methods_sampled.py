"""Methods that sample: phases, draws, predictions, divergence of a chain, and runs that continue bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from szilard import bayes, methods
from szilard.bayes.draws import Draws
from szilard.errors import SzilardError
from szilard.methods.of_draws import spread_out

STEPS = 40
NAMES = ("sgld", "sghmc", "dial")


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.1), nn.Linear(10, 3))


def start(name="sgld", task="classification", network=None, **options):
    given = {"chains": 2, "draws": 4, "total_steps": STEPS, "lr": 0.05, "seed": 1, "every_curvature": 5}
    if name == "sghmc":
        given["cycles"] = 2
    method = methods.make(name, 200, **{**given, **options})
    made = method.prepare(plain() if network is None else network, task).train()
    return method, made, method.optimizer(made)


def batch(step, size=16):
    x = torch.randn(size, 6, generator=torch.Generator().manual_seed(step))
    return x, (x[:, 0] > 0).long()


def train(method, network, optimizer, count, given=batch):
    for _ in range(count):
        torch.manual_seed(method.step)  # of dropout, as the training loop does
        method.anneal(optimizer)
        method.loss(network, *given(method.step)).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", NAMES)
def test_all_draws_are_kept_and_differ(name):
    method, network, optimizer = start(name)
    assert isinstance(network, Draws)
    train(method, network, optimizer, STEPS)
    assert network.done == 8
    method.finish(network, [batch(0), batch(1)])
    x, _ = batch(99)
    found = method.predict(network, x, samples=100)
    assert found.n_samples == 8
    assert bool((found.probabilities.std(0) > 0).any())
    firsts = [next(member.parameters()).detach() for member in network.members]
    assert all(not torch.equal(one, two) for n, one in enumerate(firsts) for two in firsts[:n])
    network.eval()
    assert torch.allclose(network(x).softmax(1), found.mean, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_continues_has_the_same_bits(name):
    method, network, optimizer = start(name)
    for stop in (5, 12, 21, 30):  # descent and sampling of both chains
        train(method, network, optimizer, stop - method.step)
        again, other, sampler = start(name)
        other.load_state_dict(copy.deepcopy(network.state_dict()))
        sampler.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        again.load_state_dict(copy.deepcopy(method.state_dict()))
        one, two = copy.deepcopy(method), copy.deepcopy((network, optimizer))
        train(again, other, sampler, STEPS - stop)
        train(one, *two, STEPS - stop)
        assert same(state(other), state(two[0])), stop


@pytest.mark.parametrize("name", ["sgld", "dial"])
def test_below_density_one_all_draws_have_the_support_of_the_first_descent(name):
    network = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    method, made, optimizer = start(name, density=0.3, every=2, network=network, growth_batches=1)
    before = [weight.support.flat().clone() for weight in bayes.weights(made.chain).values()]
    train(method, made, optimizer, STEPS)
    after = [weight.support for weight in bayes.weights(made.chain).values()]
    assert any(not torch.equal(one, two.flat()) for one, two in zip(before, after, strict=True))
    for member in made.members:
        ours = [weight.support for weight in bayes.weights(member).values()]
        assert all(one is two for one, two in zip(ours, after, strict=True))


def test_a_second_chain_starts_elsewhere():
    method, network, optimizer = start()
    train(method, network, optimizer, 20)
    weights = [weight.mean.detach() for weight in bayes.weights(network.chain).values()]
    initial = [weight.mean for weight in bayes.weights(network.members[-1]).values()]
    for one, two in zip(weights, initial, strict=True):
        assert not torch.equal(one, two)
        assert one.std().item() == pytest.approx(two.std().item(), rel=0.5)
    assert optimizer.descends
    assert optimizer.param_groups[0]["chain"] == 1


def test_a_chain_that_diverges_goes_back_and_shortens_its_step():
    method, network, optimizer = start()
    train(method, network, optimizer, 13)
    assert not optimizer.descends
    step = optimizer.param_groups[0]["step_size"]
    with torch.no_grad():
        for parameter in network.chain.parameters():
            parameter.fill_(float("nan"))
    train(method, network, optimizer, 1)
    assert method.diverged == 1
    assert optimizer.param_groups[0]["step_size"] == pytest.approx(step / 2)
    assert all(bool(p.isfinite().all()) for p in network.chain.parameters())
    train(method, network, optimizer, STEPS - 14)
    assert network.done == 8


def test_the_loss_is_the_negative_log_posterior_per_example():
    method, network, _ = start(network=nn.Sequential(nn.Linear(6, 3)))
    x, y = batch(0)
    value = method.loss(network, x, y)
    weight, bias = network.chain[0].weight.mean.detach(), network.chain[0].bias.detach()
    prior = 0.5 * (6 * weight.square().sum() + bias.square().sum())
    nll = nn.functional.cross_entropy(network.chain(x), y)
    assert torch.allclose(value, nll + prior / 200, atol=1e-5)


def test_a_linear_regression_is_sampled_exactly():
    """The posterior of Bayesian linear regression with known noise is Gaussian: mean and covariance are formulas."""
    from szilard.likelihood import Gaussian

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 2, generator=generator) @ torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    y = x @ torch.tensor([0.5, -1.0]) + 0.5 * torch.randn(50, generator=generator)
    torch.manual_seed(0)
    method = methods.make(
        "sgld",
        50,
        chains=4,
        draws=40,
        descent=0.1,
        burn=0.1,
        total_steps=1200,
        lr=0.1,
        prior="fixed",
        step_size=2.0,
    )
    network = method.prepare(nn.Sequential(nn.Linear(2, 1, bias=False)), Gaussian(torch.tensor(0.5))).train()
    train(method, network, method.optimizer(network), 1200, lambda step: (x, y[:, None]))
    draws = torch.stack([member[0].weight.mean for member in network.members])
    precision = x.T @ x / 0.25 + torch.eye(2)
    expected = torch.linalg.inv(precision)
    mean = expected @ x.T @ y / 0.25
    error = (draws.mean(0) - mean) / expected.diag().sqrt()
    assert error.abs().max().item() < 0.6
    assert torch.allclose(draws.T.cov(), expected, atol=0.35 * expected.diag().max().item())


def test_states_that_are_wrong_are_seen():
    method, network, _ = start()
    state = method.state_dict()
    assert method.invalid_part(state, network) == ""
    assert method.invalid_part({**state, "diverged": -1}, network) == "diverged"
    assert method.invalid_part({**state, "reference": float("nan")}, network) == "reference"


def test_draws_are_spread_out():
    assert spread_out(4, 10) == [0, 1, 2, 3]
    assert spread_out(8, 2) == [2, 6]
    with pytest.raises(SzilardError, match="samples must be at least 1"):
        spread_out(3, 0)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("dial", {"dial": 1.5}, "dial must be in"),
        ("sgld", {"step_size": 5.0}, "step_size must be"),
        ("sgld", {"prior": "learned"}, "samples the prior"),
        ("sgld", {"every_curvature": 0}, "every_curvature"),
        ("sgld", {"total_steps": 6}, "6 steps are too few"),
        ("sghmc", {"friction": 0.0}, "friction"),
        ("sghmc", {"cycles": 3, "draws": 8}, "cannot be divided among 3 cycles"),
        ("sghmc", {"quiet": 0.9}, "a cycle needs"),
    ],
)
def test_bad_options(name, given, message):
    with pytest.raises(SzilardError, match=message):
        methods.make(name, 100, **given)


def test_what_cannot_be_done_is_said():
    method, network, optimizer = start()
    with pytest.raises(SzilardError, match="samples by its own optimiser"):
        method.after_step(network, torch.optim.SGD(network.chain.parameters(), 0.1))
    with pytest.raises(SzilardError, match="no variance for one pass"):
        method.predict_one_pass(network, batch(0)[0])
    train(method, network, optimizer, 12)
    with pytest.raises(SzilardError, match="ended at step 12"):
        method.finish(network, [batch(0)])
    with pytest.raises(SzilardError, match="places for their draws"):
        method.loss(plain(), *batch(0))
