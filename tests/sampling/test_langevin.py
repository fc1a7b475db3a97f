"""Langevin dynamics: the law of its draws in Gaussian posteriors, its noise, and how it continues."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from szilard.errors import SzilardError
from szilard.sampling import Langevin

N = 50


def chain(precision, lr, momentum, *, steps, chains=4000, scale=None, temperature=1.0, seed=0):
    """Many independent chains on U = ½ Σ λ x², side by side; positions after all steps ``[chains, dimensions]``."""
    precision = torch.tensor(precision)
    x = nn.Parameter(torch.zeros(chains, len(precision)))
    sampler = Langevin([x], lr, N, momentum=momentum, temperature=temperature, seed=seed)
    if scale is not None:
        sampler.set_scales({x: torch.tensor(scale).expand_as(x)})
    for _ in range(steps):
        x.grad = x.detach() * precision / N  # of U/N
        sampler.step()
    return x.detach()


@pytest.mark.parametrize(("lr", "momentum"), [(1.0, 0.0), (1.5, 0.0), (0.3, 0.8), (2.0, 0.5)])
def test_the_variance_of_a_gaussian_posterior_has_no_error_of_the_step(lr, momentum):
    """h² λ / N is up to 2, where an Euler step of SGLD has twice the variance."""
    found = chain([50.0, 20.0, 5.0], lr, momentum, steps=120).var(0)
    expected = torch.tensor([1 / 50, 1 / 20, 1 / 5])
    assert torch.allclose(found, expected, rtol=0.09)  # four standard errors of 4000 chains


def test_temperature_multiplies_the_variance():
    cold = chain([20.0], 1.0, 0.0, steps=40, temperature=0.25).var()
    assert float(cold) == pytest.approx(0.25 / 20, rel=0.09)
    still = chain([20.0], 1.0, 0.0, steps=5, temperature=0.0)
    assert bool((still == 0).all())


def test_scales_make_a_stiff_posterior_mix():
    """Without scales the wide direction has hardly moved; with its deviation as scale both have their variance."""
    precision = [1e4, 1.0]
    slow = chain(precision, 0.005, 0.0, steps=30).var(0)
    quick = chain(precision, 0.5, 0.0, steps=30, scale=[(N / 1e4) ** 0.5, N**0.5]).var(0)
    assert float(slow[1]) < 0.1
    assert torch.allclose(quick, torch.tensor([1e-4, 1.0]), rtol=0.09)


@pytest.mark.parametrize("dial", [0.0, 0.5, 0.9, 1.0])
def test_an_anchored_chain_samples_between_q_and_the_posterior(dial):
    """In a Gaussian posterior of precision Λ with q of precision λ: precision d Λ + (1 - d) λ (a correlation of .8)."""
    precision = torch.tensor([[10.0, -8.0], [-8.0, 10.0]])
    x = nn.Parameter(torch.zeros(4000, 2))
    sampler = Langevin([x], 0.3, N)
    sampler.set_scales({x: (N / 10) ** 0.5})
    sampler.anchor(dial)
    for _ in range(150):
        x.grad = x.detach() @ precision / N
        sampler.step()
    expected = torch.linalg.inv(dial * precision + (1 - dial) * 10 * torch.eye(2))
    found = x.detach().T.cov()
    assert torch.allclose(found, expected, atol=0.1 * float(expected.diag().max()))


def test_the_density_of_the_anchor_is_normal():
    x = nn.Parameter(torch.tensor([1.0, -2.0]))
    sampler = Langevin([x], 0.1, 25)
    with pytest.raises(SzilardError, match="needs scales"):
        sampler.anchor(0.5)
    sampler.set_scales({x: torch.tensor([5.0, 10.0])})
    with pytest.raises(SzilardError, match="dial must be in"):
        sampler.anchor(1.5)
    sampler.anchor(0.5)
    with torch.no_grad():
        x.add_(torch.tensor([0.5, 3.0]))
    expected = (
        torch.distributions.Normal(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 2.0])).log_prob(x).sum()
    )
    assert sampler.log_anchor_density() == pytest.approx(expected.item(), rel=1e-6)


def test_noise_is_a_function_of_seed_chain_and_step():
    def after(steps, **given):
        x = nn.Parameter(torch.zeros(3))
        sampler = Langevin([x], 0.1, N, **given)
        for _ in range(steps):
            x.grad = torch.zeros(3)
            sampler.step()
        return x.detach()

    assert torch.equal(after(3, seed=1), after(3, seed=1))
    assert not torch.equal(after(3, seed=1), after(3, seed=2))
    assert not torch.equal(after(3, chain=0), after(3, chain=1))
    before = torch.get_rng_state()
    after(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_chain_continues_from_its_state_dict():
    def step(x, sampler):
        x.grad = 0.1 * x.detach()
        sampler.step()

    x = nn.Parameter(torch.ones(4))
    sampler = Langevin([x], 0.1, N, momentum=0.5)
    sampler.set_scales({x: 2.0})
    for _ in range(3):
        step(x, sampler)
    state, place = copy.deepcopy(sampler.state_dict()), x.detach().clone()
    for _ in range(3):
        step(x, sampler)
    again = nn.Parameter(place)
    other = Langevin([again], 0.9, N)
    other.load_state_dict(state)
    for _ in range(3):
        step(again, other)
    assert torch.equal(again, x)


def test_a_restart_draws_a_new_velocity_and_keeps_scales():
    x = nn.Parameter(torch.ones(2))
    sampler = Langevin([x], 0.1, N, momentum=0.9)
    sampler.set_scales({x: 3.0})
    x.grad = torch.zeros(2)
    sampler.step()
    sampler.restart(chain=5)
    assert "velocity" not in sampler.state[x]
    assert sampler.param_groups[0]["chain"] == 5
    assert sampler.state[x]["scale"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 0.0}, "learning rate"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"temperature": -1.0}, "temperature"),
        ({"n_data": 0}, "n_data"),
    ],
)
def test_values_out_of_range_are_refused(given, message):
    with pytest.raises(SzilardError, match=message):
        Langevin([nn.Parameter(torch.zeros(1))], **{"lr": 0.1, "n_data": 5, **given})


@pytest.mark.parametrize(
    ("scale", "message"),
    [(torch.ones(3), "has shape"), (0.0, "positive"), (float("nan"), "positive")],
)
def test_scales_that_do_not_fit_are_refused(scale, message):
    x = nn.Parameter(torch.zeros(2))
    sampler = Langevin([x], 0.1, 5)
    with pytest.raises(SzilardError, match=message):
        sampler.set_scales({x: scale})
    with pytest.raises(SzilardError, match="does not move"):
        sampler.set_scales({torch.zeros(2): 1.0})
