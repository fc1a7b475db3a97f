"""Confidence intervals of metrics, and metrics by class."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from szilard import metrics
from szilard.metrics import Predictive, resampled

pytestmark = pytest.mark.intervals


def test_wilson_by_hand():
    low, high = metrics.wilson(8, 10)  # Wilson (1927), computed with z = 1.96
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert metrics.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 400), st.data())
def test_wilson_contains_its_estimate(n, data):
    k = data.draw(st.integers(0, n))
    low, high = metrics.wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1


def predictions(n, seed=0, classes=3, samples=4):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, n, classes, generator=draws)
    y = torch.multinomial(logits.softmax(-1).mean(0), 1, generator=draws)[:, 0]
    return Predictive.from_logits(logits), y


def test_every_figure_lies_in_its_interval():
    predictive, y = predictions(120)
    ood, _ = predictions(200, seed=1)
    quality = metrics.evaluate(predictive, y, ood=ood)
    found = metrics.intervals(predictive, y, ood=ood)
    assert found.keys() == quality.keys()
    for name, (low, high) in found.items():
        assert low - 1e-9 <= quality[name] <= high + 1e-9, name
        assert high > low, name
    assert metrics.intervals(predictive, y, ood=ood) == found  # deterministic


def test_intervals_of_a_regression_are_in_its_units():
    draws = torch.Generator().manual_seed(0)
    means, y = torch.randn(5, 90, generator=draws), torch.randn(90, generator=draws)
    predictive = Predictive.from_gaussian(means, torch.full((5, 90), 1.5))
    for scale in (1.0, 20.0):
        quality = metrics.evaluate(predictive, y, target_scale=scale)
        found = metrics.intervals(predictive, y, target_scale=scale)
        assert found.keys() == quality.keys()
        assert all(low - 1e-9 <= quality[name] <= high + 1e-9 for name, (low, high) in found.items())


def test_the_width_of_the_interval_of_a_mean():
    predictive, y = predictions(300)
    low, high = metrics.intervals(predictive, y)["nll"]
    nll = -predictive.mean[torch.arange(300), y].log()
    assert high - low == pytest.approx(2 * 1.96 * float(nll.std()) / math.sqrt(300), rel=0.2)


def test_delong_intervals_are_as_wide_as_bootstrap_intervals():
    inside, outside = (
        predictions(150)[0],
        Predictive.from_logits(0.5 * predictions(150, seed=1)[0].probabilities.log()),
    )
    low, high = metrics.intervals(inside, predictions(150)[1], ood=outside)["auroc_entropy"]
    draws = torch.Generator().manual_seed(0)
    a, b = inside.entropy(), outside.entropy()
    again = [
        metrics.auroc(
            a[torch.randint(150, (150,), generator=draws)], b[torch.randint(150, (150,), generator=draws)]
        )
        for _ in range(300)
    ]
    ends = torch.tensor(again).quantile(torch.tensor([0.025, 0.975]))
    assert high - low == pytest.approx(float(ends[1] - ends[0]), rel=0.25)


def test_precision_and_recall_by_hand():
    p = torch.eye(3)[[0, 0, 1, 1, 0, 1]][None]  # predictions
    y = torch.tensor([0, 1, 1, 1, 0, 2])
    first, second, third = metrics.by_class(Predictive(probabilities=p), y)
    assert (first.examples, first.answered, first.precision, first.recall) == (2, 3, 2 / 3, 1.0)
    assert (second.examples, second.answered, second.precision, second.recall) == (3, 3, 2 / 3, 2 / 3)
    assert (third.examples, third.answered, third.precision, third.recall) == (1, 0, None, 0.0)
    assert first.recall_interval == metrics.wilson(2, 2)


@given(st.integers(1, 60), st.integers(2, 6), st.sampled_from([None, 1, 4]), st.integers(0, 99))
def test_batched_resampling_equals_single_samples(n, classes, steps, seed):
    """Coarse probabilities have many ties, and values of exactly 0 and 1."""
    draws = torch.Generator().manual_seed(seed)
    p = torch.rand(n, classes, generator=draws)
    if steps is not None:
        p = (p * steps).round() + torch.eye(classes)[torch.randint(classes, (n,), generator=draws)]
    p = p / p.sum(1, keepdim=True)
    y = torch.randint(classes, (n,), generator=draws)
    rows = torch.randint(n, (5, n), generator=draws)
    made = Predictive(probabilities=p[None])
    found = [
        resampled.ece(p, y, rows),
        resampled.ece_marginal(p, y, rows),
        resampled.aurc(made.labels != y, -made.max_probability(), rows),
    ]
    for i, row in enumerate(rows):
        sample = Predictive(probabilities=p[row][None])
        assert float(found[0][i]) == pytest.approx(metrics.ece(p[row], y[row]), abs=1e-6)
        assert float(found[1][i]) == pytest.approx(metrics.ece_marginal(p[row], y[row]), abs=1e-7)
        assert float(found[2][i]) == pytest.approx(metrics.risk_coverage(sample, y[row])[2], abs=1e-12)
