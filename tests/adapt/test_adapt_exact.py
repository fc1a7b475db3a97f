"""Filters against batch Bayes, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import log_softmax

from szilard.adapt import Filter
from szilard.adapt.beliefs import Projection
from szilard.adapt.broadening import Additive, Directional, OrnsteinUhlenbeck, Reset, Temper, TowardsPrior
from szilard.adapt.observations import Linear, Logistic, Softmax, UnknownNoise
from szilard.adapt.observations.softmax import probabilities
from szilard.adapt.trackers import Always, Bank, Beam, NoChange, RunLength
from szilard.errors import SzilardError

RULES = [Temper(), TowardsPrior(), Additive(), OrnsteinUhlenbeck(), Reset(), Directional()]


def rows(count=40, features=3, seed=0):
    r = np.random.default_rng(seed)
    x = r.normal(size=(count, features))
    return x, x @ r.normal(size=features) + 0.3 * r.normal(size=count)


def learned(filter_, x, y):
    return sum(filter_.learn(row, target) for row, target in zip(x, y, strict=True))


def log_marginal(x, y, noise, scale=1.0):
    return stats.multivariate_normal(np.zeros(len(y)), noise**2 * np.eye(len(y)) + scale**2 * x @ x.T).logpdf(
        y
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_without_change_every_rule_is_batch_bayes(rule):
    x, y = rows()
    filter_ = Filter(Linear(0.3), 3, broadening=rule, tracker=NoChange(), prior_scale=2.0)
    evidence = learned(filter_, x, y)
    precision = x.T @ x / 0.3**2 + np.eye(3) / 4
    np.testing.assert_allclose(
        filter_.belief.mean[0], np.linalg.solve(precision, x.T @ y / 0.3**2), rtol=1e-9
    )
    np.testing.assert_allclose(filter_.belief.precision[0], precision, rtol=1e-10)
    assert evidence == pytest.approx(log_marginal(x, y, 0.3, 2.0), rel=1e-9)


def test_unknown_noise_is_batch_bayes():
    x, y = rows()
    filter_ = Filter(UnknownNoise(0.5, 3.0), 3, tracker=NoChange(), prior_scale=2.0)
    evidence = learned(filter_, x, y)
    shape = 0.5**2 * (np.eye(len(y)) + 4 * x @ x.T)
    assert evidence == pytest.approx(stats.multivariate_t(np.zeros(len(y)), shape, 3.0).logpdf(y), rel=1e-9)
    precision = x.T @ x + np.eye(3) / 4
    mean = np.linalg.solve(precision, x.T @ y)
    a, b = filter_.belief.extra["noise"][0]
    assert a == 1.5 + len(y) / 2
    assert b == pytest.approx(1.5 * 0.25 + 0.5 * (y @ y - mean @ precision @ mean))
    mean, variance = filter_.predict(x[0])
    expected = b / a * (1 + x[0] @ np.linalg.solve(precision, x[0])) * a / (a - 1)
    assert variance == pytest.approx(expected)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1e4])
def test_a_logistic_row_moves_to_the_posterior_mode(target, scale):
    x = np.array([1.0, -2.0, 0.5])
    filter_ = Filter(Logistic(), 3, tracker=NoChange(), prior_scale=scale)
    filter_.learn(np.array([0.3, 1.0, 1.0]), 1 - target)
    before = filter_.belief.take(np.array([0]))
    filter_.learn(x, target)
    mean = filter_.belief.mean[0]
    likelihood = 1 / (1 + np.exp(-(x @ mean)))
    gradient = before.precision[0] @ (mean - before.mean[0]) - (target - likelihood) * x
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
    curvature = likelihood * (1 - likelihood)
    np.testing.assert_allclose(
        filter_.belief.precision[0], before.precision[0] + curvature * np.outer(x, x), rtol=1e-6
    )


@pytest.mark.parametrize("target", [0, 1, 3])
def test_a_softmax_row_moves_to_the_posterior_mode(target):
    filter_ = Filter(Softmax(4), 2, tracker=NoChange(), prior_scale=3.0)
    for x, y in (([1.0, 2.0], 1), ([0.5, -1.0], 3), ([1.0, 1.0], 0)):
        filter_.learn(np.array(x), y)
    before = filter_.belief.take(np.array([0]))
    x = np.array([0.7, 1.5])
    filter_.learn(x, target)

    def loss(weights):
        moved = weights - before.mean[0]
        logs = log_softmax(np.append(0.0, weights.reshape(3, 2) @ x))
        return 0.5 * moved @ before.precision[0] @ moved - logs[target]

    best = optimize.minimize(loss, before.mean[0], method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(filter_.belief.mean[0], best.x, atol=1e-6)


def test_softmax_of_two_classes_is_logistic():
    r = np.random.default_rng(1)
    x, y = r.normal(size=(60, 3)), r.integers(0, 2, 60)
    two, one = (Filter(observation, 3) for observation in (Softmax(2), Logistic()))
    assert learned(two, x, y) == pytest.approx(learned(one, x, y), rel=1e-9)
    np.testing.assert_allclose(two.belief.mean, one.belief.mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(two.predict(x[0]), one.predict(x[0]), rtol=1e-9)


def test_class_probabilities_are_near_those_of_draws():
    r = np.random.default_rng(2)
    factor = r.normal(size=(3, 3))
    mean, covariance = np.array([[0.5, -1.0, 2.0]]), (factor @ factor.T)[None]
    found = probabilities(Projection(mean, covariance, np.zeros((1, 3, 3))))[0]
    draws = r.multivariate_normal(mean[0], covariance[0], 200_000)
    exact = np.exp(log_softmax(np.column_stack((np.zeros(len(draws)), draws)), axis=1)).mean(0)
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert found.sum() == pytest.approx(1)


def partitions(count):
    """Every set of rows, after the first, before which the world changed."""
    for changes in itertools.product([False, True], repeat=count - 1):
        yield (False, *changes)


def test_a_full_beam_sums_over_all_histories():
    x, y = rows(6)
    y[3:] += 2
    total = []
    for changes in partitions(6):
        filter_ = Filter(Linear(0.3), 3, tracker=NoChange())
        evidence = 0.0
        for t, changed in enumerate(changes):
            if changed:
                rule = Temper(0.1, 1e-3)
                filter_.belief, filter_._ahead = rule(filter_.belief, np.array([0.1])), None
            evidence += filter_.learn(x[t], y[t])
        jumps = sum(changes)
        total.append(evidence + jumps * np.log(0.2) + (5 - jumps) * np.log(0.8))
    beam = Filter(Linear(0.3), 3, broadening=Temper(0.1, 1e-3), tracker=Beam(64, 0.2))
    assert learned(beam, x, y) == pytest.approx(np.logaddexp.reduce(total), rel=1e-9)


def test_run_lengths_sum_over_all_segmentations():
    x, y = rows(7)
    y[4:] -= 2
    total = []
    for changes in partitions(7):
        starts = [0, *(t for t in range(7) if changes[t]), 7]
        parts = itertools.pairwise(starts)
        jumps = sum(changes)
        evidence = sum(log_marginal(x[a:b], y[a:b], 0.3) for a, b in parts)
        total.append(evidence + jumps * np.log(0.1) + (6 - jumps) * np.log(0.9))
    filter_ = Filter(Linear(0.3), 3, broadening=Reset(), tracker=RunLength(10, 0.1))
    assert learned(filter_, x, y) == pytest.approx(np.logaddexp.reduce(total), rel=1e-9)


def test_a_bank_of_one_rate_is_that_rate_and_weights_follow_the_evidence():
    x, y = rows()
    one = Filter(Linear(0.3), 3, broadening=Temper(0.9), tracker=Always())
    bank = Filter(Linear(0.3), 3, tracker=Bank([0.9]))
    assert learned(one, x, y) == pytest.approx(learned(bank, x, y), rel=1e-12)
    two = Filter(Linear(0.3), 3, tracker=Bank([1.0, 0.5], memory=1.0))
    learned(two, x, y)
    single = [
        learned(Filter(Linear(0.3), 3, broadening=Temper(rate), tracker=Always()), x, y)
        for rate in (1.0, 0.5)
    ]
    difference = two.tracks.log_weight[0] - two.tracks.log_weight[1]
    assert difference == pytest.approx(single[0] - single[1], rel=1e-9)


def test_diagonal_equals_full_for_features_that_never_meet():
    r = np.random.default_rng(3)
    x = np.eye(3)[r.integers(0, 3, 50)]
    y = r.normal(size=50)
    full, diagonal = (Filter(Linear(0.5), 3, belief=belief) for belief in ("full", "diagonal"))
    assert learned(full, x, y) == pytest.approx(learned(diagonal, x, y), rel=1e-10)
    np.testing.assert_allclose(full.belief.mean, diagonal.belief.mean, rtol=1e-9)
    np.testing.assert_allclose(full.belief.variances(), diagonal.belief.variances(), rtol=1e-9)


def test_diagonal_softmax_equals_full_for_features_that_never_meet():
    r = np.random.default_rng(4)
    x, y = np.eye(2)[r.integers(0, 2, 30)], r.integers(0, 3, 30)
    full, diagonal = (
        Filter(Softmax(3), 2, belief=belief, tracker=NoChange()) for belief in ("full", "diagonal")
    )
    full.learn(x[0], int(y[0]))
    diagonal.learn(x[0], int(y[0]))
    np.testing.assert_allclose(full.belief.mean, diagonal.belief.mean, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [5_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "rule", [Temper(0.98), TowardsPrior(0.98), Directional(0.98)], ids=lambda rule: rule.name
)
def test_collinear_features_stay_positive_definite(rule, count):
    r = np.random.default_rng(5)
    filter_ = Filter(Linear(0.1), 3, broadening=rule, tracker=Always())
    for value, noise in zip(r.normal(size=count), r.normal(size=count), strict=True):
        filter_.learn(np.array([1.0, value, 2 * value]), 1 + value + 0.1 * noise)
    values = np.linalg.eigvalsh(filter_.belief.precision[0])
    assert values[0] > 0
    mean, variance = filter_.predict(np.array([1.0, 1.0, 2.0]))
    assert mean == pytest.approx(2.0, abs=0.1)
    assert variance == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize("bias", [True, False])
def test_other_units_keep_every_prediction(bias):
    r = np.random.default_rng(6)
    x = np.column_stack((np.ones(30), r.normal(size=(30, 2)))) if bias else r.normal(size=(30, 3))
    filter_ = Filter(Softmax(3), 3)
    for row in x:
        filter_.learn(row, int(row[1] > 0) + int(row[2] > 1))
    ratio, shift = np.array([1.0, 2.5, 0.2]), np.array([0.0, -1.0, 0.7]) if bias else None
    before = [filter_.belief.project(row) for row in x]
    filter_.in_units(ratio, shift)
    for row, old in zip(x, before, strict=True):
        new = filter_.belief.project((row - (0 if shift is None else shift)) / ratio)
        np.testing.assert_allclose(new.mean, old.mean, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(new.covariance, old.covariance, rtol=1e-8)


def test_other_units_keep_every_mean_of_a_diagonal_belief():
    filter_ = Filter(Linear(0.5), 2, belief="diagonal")
    filter_.learn(np.array([1.0, 2.0]), 3.0)
    before = filter_.belief.project(np.array([1.0, -1.0])).mean
    filter_.in_units(np.array([1.0, 2.0]), np.array([0.0, 3.0]))
    np.testing.assert_allclose(filter_.belief.project(np.array([1.0, -2.0])).mean, before)


def test_quantiles_of_mixtures():
    x, y = rows()
    for observation in (Linear(0.3), UnknownNoise()):
        filter_ = Filter(observation, 3, tracker=NoChange())
        learned(filter_, x, y)
        mean, variance = filter_.predict(x[0])
        if isinstance(observation, Linear):
            exact = stats.norm(mean, np.sqrt(variance))
        else:
            shape = filter_.belief.extra["noise"][0, 0]
            exact = stats.t(2 * shape, mean, np.sqrt(variance * (shape - 1) / shape))
        for level in (0.001, 0.3, 0.5, 0.99):
            assert filter_.quantile(x[0], level) == pytest.approx(exact.ppf(level), rel=1e-9)
    filter_ = Filter(Linear(0.3), 3, tracker=Bank([1.0, 0.5]))
    learned(filter_, x, y)
    parts, weights = filter_._branched(x[0])[1].project(x[0]), np.exp(filter_._branches().log_prior)
    value = filter_.quantile(x[0], 0.9)
    below = stats.norm(parts.mean[:, 0], np.sqrt(0.09 + parts.covariance[:, 0, 0])).cdf(value)
    assert weights @ below == pytest.approx(0.9)
    with pytest.raises(SzilardError, match="level must be between 0 and 1"):
        filter_.quantile(x[0], 1.0)
    with pytest.raises(SzilardError, match="a logistic target is a class"):
        Filter(Logistic(), 3).quantile(x[0], 0.5)
