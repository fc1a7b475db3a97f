"""Rules of broadening against their formulas, and what they do at the ends of the range of rates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from szilard.adapt import Filter
from szilard.adapt.beliefs import BELIEFS, WeightPrior
from szilard.adapt.broadening import (
    RULES,
    Additive,
    Directional,
    EmpiricalBayes,
    OrnsteinUhlenbeck,
    Reset,
    Temper,
    TowardsPrior,
)
from szilard.adapt.observations import Linear, UnknownNoise
from szilard.adapt.trackers import Always, Bank, Beam, NoChange, RunLength
from szilard.errors import SzilardError


def belief(kind="full", hypotheses=2, seed=0, noise=False):
    r = np.random.default_rng(seed)
    prior = WeightPrior(np.array([[0.5, -1.0, 0.0]]), np.array([[1.0, 2.0, 0.5]]))
    start = UnknownNoise().start() if noise else {}
    found = BELIEFS[kind].of_prior(prior, start).take(np.zeros(hypotheses, dtype=int))
    factor = r.normal(size=(hypotheses, 3, 3))
    precision = factor @ factor.swapaxes(1, 2) + np.eye(3)
    if kind == "diagonal":
        precision = precision.diagonal(axis1=1, axis2=2).copy()
    extra = {"noise": np.array([[5.0, 2.0]] * hypotheses)} if noise else {}
    return found.changed(mean=r.normal(size=(hypotheses, 3)), precision=precision, extra=extra)


X = np.array([1.0, 0.0, -2.0])


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("name", [name for name in RULES if name != "empirical-bayes"])
def test_rate_one_keeps_every_belief(name, kind):
    before = belief(kind, noise=True)
    after = RULES[name]()(before, np.ones(2), X)
    np.testing.assert_allclose(after.mean, before.mean, rtol=1e-12)
    np.testing.assert_allclose(after.precision, before.precision, rtol=1e-10)
    np.testing.assert_allclose(after.extra["noise"], before.extra["noise"])


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("rule", [TowardsPrior(), OrnsteinUhlenbeck(), Reset()], ids=lambda rule: rule.name)
def test_rate_zero_is_the_prior(rule, kind):
    before = belief(kind, noise=True)
    after = rule(before, np.zeros(2), X)
    np.testing.assert_allclose(after.mean, np.tile(before.prior.mean, (2, 1)), atol=1e-12)
    np.testing.assert_allclose(after.precision, np.stack([before.prior_precision()] * 2), atol=1e-12)
    np.testing.assert_allclose(after.extra["noise"], np.tile(before.start["noise"], (2, 1)))


def test_each_hypothesis_has_its_own_rate():
    before = belief()
    for name, make in RULES.items():
        if name == "empirical-bayes":
            continue
        both = make()(before, np.array([0.5, 1.0]), X)
        alone = make()(before.take(np.array([0])), np.array([0.5]), X)
        np.testing.assert_allclose(both.precision[0], alone.precision[0], rtol=1e-10)
        np.testing.assert_allclose(both.precision[1], before.precision[1], rtol=1e-10)


@given(st.floats(0.05, 0.95), st.floats(-3, 3))
def test_towards_prior_is_the_product_of_powers(rate, place):
    prior = WeightPrior(np.array([[1.0]]), np.array([[0.5]]))
    before = BELIEFS["full"].of_prior(prior).changed(mean=np.array([[-2.0]]), precision=np.array([[[3.0]]]))
    after = TowardsPrior(rate)(before, np.array([rate]))

    def log_density(mean, precision):  # at a place, relative to that at 0
        return -0.5 * precision * ((place - mean) ** 2 - mean**2)

    expected = rate * log_density(-2.0, 3.0) + (1 - rate) * log_density(1.0, 0.5)
    found = log_density(after.mean[0, 0], after.precision[0, 0, 0])
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_additive_and_process_variances(kind):
    before = belief(kind)
    old = before.inverse(before.precision)
    prior = before.inverse(before.prior_precision())
    walked = Additive(0.9, 0.3)(before, np.full(2, 0.9))
    np.testing.assert_allclose(walked.inverse(walked.precision), old + 0.03 * prior, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(walked.mean, before.mean)
    drifted = OrnsteinUhlenbeck()(before, np.full(2, 0.8))
    np.testing.assert_allclose(
        drifted.inverse(drifted.precision), 0.64 * old + 0.36 * prior, rtol=1e-8, atol=1e-12
    )
    np.testing.assert_allclose(drifted.mean, before.prior.mean + 0.8 * (before.mean - before.prior.mean))


def test_directional_forgets_only_what_the_input_sees():
    before = belief()
    after = Directional(0.25, 1e-9)(before, np.full(2, 0.25), X)
    seen = np.einsum("i,kij,j->k", X, before.precision, X)
    np.testing.assert_allclose(np.einsum("i,kij,j->k", X, after.precision, X), 0.25 * seen, rtol=1e-6)
    for other in range(2):  # directions that share no information with the input keep theirs
        free = np.linalg.svd((before.precision[other] @ X)[None])[2][1:]
        np.testing.assert_allclose(
            free @ after.precision[other] @ free.T, free @ before.precision[other] @ free.T, rtol=1e-6
        )


def test_tempering_keeps_the_estimate_of_the_noise():
    before = belief(noise=True)
    after = Temper(0.5)(before, np.full(2, 0.5))
    shape, scale = after.extra["noise"][0]
    assert shape == pytest.approx(0.5 * 5.0 + 0.5 * 0.5)
    assert scale / shape == pytest.approx(2.0 / 5.0)


def drifting(speed, count=600):
    r = np.random.default_rng(0)
    w = np.cumsum(speed * r.normal(size=(count, 2)), 0) + 1
    x = r.normal(size=(count, 2))
    return x, (x * w).sum(1) + 0.1 * r.normal(size=count)


def test_empirical_bayes_follows_the_drift():
    speeds = []
    for speed in (0.0, 0.2):
        filter_ = Filter(Linear(0.1), 2, broadening=EmpiricalBayes(0.99), tracker=Always())
        for x, y in zip(*drifting(speed), strict=True):
            filter_.learn(x, y)
        speeds.append(filter_.belief.extra["log_drift"][0])
    assert speeds[0] < np.log(-2 * np.log(0.99)) < speeds[1]


def test_empirical_bayes_judges_a_row_before_following_it():
    filter_ = Filter(Linear(0.1), 2, broadening=EmpiricalBayes(0.9), tracker=Always())
    filter_.learn(np.array([1.0, 0.0]), 1.0)
    mean, variance = filter_.predict(np.array([1.0, 1.0]))
    expected = -0.5 * (np.log(2 * np.pi * variance) + (50.0 - mean) ** 2 / variance)
    assert filter_.learn(np.array([1.0, 1.0]), 50.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Temper(1.2), "rate must be between 0 .* and 1 .*, not 1.2"),
        (lambda: Temper(float("nan")), "rate must be between"),
        (lambda: Temper(0.9, 0.0), "floor must be positive"),
        (lambda: Additive(0.9, -1), "variance must be positive"),
        (lambda: EmpiricalBayes(1.0), "the rate at the start must be between 0 and 1"),
        (lambda: EmpiricalBayes(0.9, 0), "speed must be positive"),
        (lambda: Bank([]), "at least one rate"),
        (lambda: Bank([0.5, -0.1]), "each rate must be between"),
        (lambda: Beam(0), "size must be at least 1"),
        (lambda: RunLength(5, 1.0), "change must be between 0 and 1"),
        (lambda: Linear(0), "noise must be positive"),
        (lambda: UnknownNoise(1, -1), "degrees must be positive"),
        (lambda: Filter(Linear(1), 2, belief="dense"), "unknown belief 'dense': choose full or diagonal"),
        (lambda: Filter(Linear(1), 2, prior_scale=0), "prior_scale must be positive"),
        (lambda: Filter(Linear(1), 501), "full belief over 501 weights is too large .at most 500.; choose"),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(SzilardError, match=message):
        make()


def test_presets_say_what_they_are():
    assert Temper(0.98).setting() == "temper(floor=1, rate=0.98)"
    assert Beam(6, 0.01).setting() == "beam(change=0.01, size=6)"
    assert NoChange().setting() == "none()"
    assert EmpiricalBayes().setting() == "empirical-bayes(rate=0.99, speed=0.1)"
