"""The jackknife against standard errors in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from szilard.methods.one_pass import RatioToDraws, ratio_to_draws
from szilard.metrics import Predictive
from szilard.metrics.jackknife import jackknife_error, ratio_error


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_of_a_mean_with_a_group_for_each_draw_it_is_the_standard_error():
    values = normal(40, seed=1)
    found = jackknife_error(lambda kept: float(values[kept].mean()), 40, groups=40)
    assert found == pytest.approx(float(values.std()) / 40**0.5, rel=1e-9)


def test_of_a_variance_it_is_that_of_a_gaussian_on_average():
    found = []
    for seed in range(60):
        x = normal(60, seed=seed)
        found.append(jackknife_error(lambda kept, x=x: float(x[kept].var()), 60))
    assert sum(found) / len(found) == pytest.approx((2 / 59) ** 0.5, rel=0.08)


def test_two_draws_have_no_error():
    assert jackknife_error(lambda kept: float(kept.sum()), 2) == math.inf


def test_inputs_that_share_their_draws_do_not_make_the_error_smaller():
    """N inputs, all with the same Gaussian draw as their mean: the error is that of one variance."""
    shared = normal(400, 1, seed=2).expand(400, 1000)
    drawn = Predictive.from_gaussian(shared, torch.ones_like(shared))
    exact = Predictive.from_moments(torch.zeros(1000), torch.ones(1000), torch.ones(1000))
    found = ratio_to_draws(exact, drawn)
    assert found.error == pytest.approx((2 / 399) ** 0.5, rel=0.4)
    assert abs(found.ratio - 1) < 3 * found.error
    assert found.is_noise == (abs(found.ratio - 1) <= 2 * found.error)
    assert not found.is_far


def test_draws_without_uncertainty_have_no_ratio():
    same = torch.zeros(5, 3)
    point = Predictive.from_gaussian(same, torch.ones(5, 3))
    assert ratio_to_draws(point, point) is None


@pytest.mark.parametrize(("error", "noise"), [(0.0, False), (0.1, False), (0.2, True)])
def test_noise_is_within_two_errors(error, noise):
    assert RatioToDraws(0.75, error).is_noise == noise


def test_a_ratio_of_means_varies_over_samples_of_inputs_as_its_error_says():
    generator = torch.Generator().manual_seed(4)
    below = torch.rand(3000, 50, generator=generator, dtype=torch.float64) + 0.5
    above = 2 * below + 0.3 * torch.randn(3000, 50, generator=generator, dtype=torch.float64)
    ratios = above.mean(1) / below.mean(1)
    errors = torch.tensor([ratio_error(a, b) for a, b in zip(above[:300], below[:300], strict=True)])
    assert float(errors.mean()) == pytest.approx(float(ratios.std()), rel=0.05)
    assert ratio_error(2 * below[0], below[0]) == pytest.approx(0, abs=1e-12)
    assert ratio_error(above[0, :1], below[0, :1]) == math.inf
    positions = above[0].reshape(25, 2)
    assert ratio_error(positions, positions.flip(1)) == pytest.approx(0, abs=1e-12)
