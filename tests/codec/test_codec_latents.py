"""Latents of a field's base: posteriors, the prior from the data, and the choice of code points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.codec import latents


@pytest.mark.parametrize(
    ("x", "v", "s"), [(3.0, 4.0, 1.0), (-2.0, 0.01, 1.0), (50.0, 1e4, 0.5), (0.0, 1.0, 3.0)]
)
def test_posterior_is_that_of_numerical_integration(x, v, s):
    mean, deviation = latents.posterior(np.array([x]), np.array([v]), s)
    z = mean[0] + deviation[0] * np.linspace(-12, 12, 200_001)
    log = -((x - z) ** 2) / (2 * s**2) - z**2 / (2 * v)
    density = np.exp(log - log.max())
    density /= density.sum()
    assert (density * z).sum() == pytest.approx(mean[0], abs=1e-9 * (1 + abs(x)))
    assert (density * (z - mean[0]) ** 2).sum() == pytest.approx(deviation[0] ** 2, rel=1e-6)


@pytest.mark.parametrize("x", [0.0, 1.0, -20.0])
def test_widened_variance_is_that_of_numerical_integration(x):
    v, freedom = 2.0, latents.FREEDOM
    precision = np.linspace(1e-6, 40 / v, 400_001)
    log = (freedom / 2 - 1) * np.log(
        precision
    ) - freedom * v * precision / 2  # inverse gamma, of the precision
    log += 0.5 * np.log(precision) - precision * x**2 / 2
    density = np.exp(log - log.max())
    mean = (density * precision).sum() / density.sum()
    assert latents.widened(np.array([v]), np.array([x]))[0] == pytest.approx(1 / mean, rel=1e-3)


def test_prior_finds_the_variances_that_made_the_latents():
    r = np.random.default_rng(0)
    features = np.stack([np.ones(40), np.linspace(0, 5, 40), r.random(40)], 1)
    true = np.exp(features @ [6.0, -2.0, 1.5])
    groups = np.repeat(np.arange(40), 500)
    found = latents.variances(r.normal(size=groups.size) * np.sqrt(true[groups]), features, groups)
    np.testing.assert_allclose(found, true, rtol=0.1)


def test_prior_is_where_the_likelihood_has_no_slope():
    r = np.random.default_rng(1)
    features = np.stack([np.ones(12), np.arange(12.0)], 1)
    groups = np.sort(np.concatenate([np.arange(12), r.integers(0, 12, 300)]))
    observed = r.standard_t(5, size=groups.size) * np.exp(-0.3 * groups)
    found = latents.variances(observed, features, groups)
    slope = features[groups].T @ (observed**2 / found[groups] - 1)
    assert np.abs(slope).max() < 1e-3 * len(groups)


@pytest.mark.parametrize("observed", [np.zeros(9), np.array([1e150] + [0.0] * 8)])
def test_prior_of_zeros_or_huge_latents_is_positive_and_finite(observed):
    features = np.stack([np.ones(3), np.arange(3.0)], 1)
    found = latents.variances(observed, features, np.repeat(np.arange(3), 3))
    assert np.isfinite(found).all()
    assert (found > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.floats(0.01, 5), st.floats(0, 3))
def test_level_is_the_cheapest_of_all(seed, width, weight):
    r = np.random.default_rng(seed)
    bands = r.integers(0, 4, 60)
    mean = r.laplace(size=60) * np.array([0.1, 1, 5, 30])[bands]
    prices = latents.Prices.of(np.rint(mean).astype(np.int64), bands, 4)
    deviation = width * (0.5 + r.random(60))
    found = latents.cheapest(mean, deviation, bands, prices, weight)
    tried = np.arange(-400, 401)

    def cost(levels):
        bits = prices.bits(levels, bands[:, None])
        return weight * bits + (mean[:, None] - levels) ** 2 / (2 * deviation[:, None] ** 2)

    least = cost(np.broadcast_to(tried, (60, tried.size))).min(1)
    np.testing.assert_allclose(cost(found[:, None])[:, 0], least, rtol=1e-12)


def test_prices_sum_to_one():
    r = np.random.default_rng(2)
    bands = np.repeat(np.arange(3), 200)
    prices = latents.Prices.of(np.rint(r.laplace(size=600) * bands * 3).astype(np.int64), bands, 3)
    levels = np.arange(-3000, 3001)
    for band in range(3):
        assert (2.0 ** -prices.bits(levels, np.full(levels.shape, band))).sum() == pytest.approx(1, abs=1e-6)


def test_uncertain_latents_are_coded_more_coarsely():
    mean = np.full(100, 2.6)
    sure = latents.choose(mean, np.full(100, 0.1), 1.0, np.zeros(100, np.int64))
    assert (sure == 3).all()
    bands = np.zeros(1000, np.int64)
    mean = np.r_[np.full(10, 2.6), np.zeros(990)]
    assert (latents.choose(mean, np.full(1000, 3.0), 1.0, bands) == 0).all()
