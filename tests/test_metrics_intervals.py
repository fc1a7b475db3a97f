"""Intervals of figures, and figures of classes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from szilard import metrics
from szilard.metrics import Predictive


def test_wilson_by_hand():
    low, high = metrics.wilson(8, 10)  # Wilson (1927), worked out with z = 1.96
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert metrics.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 400), st.data())
def test_wilson_holds_its_estimate(n, data):
    k = data.draw(st.integers(0, n))
    low, high = metrics.wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1


def beliefs(n, seed=0, classes=3, samples=4):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, n, classes, generator=draws)
    y = torch.multinomial(logits.softmax(-1).mean(0), 1, generator=draws)[:, 0]
    return Predictive.from_logits(logits), y


def test_every_figure_lies_in_its_interval():
    believed, y = beliefs(120)
    ood, _ = beliefs(200, seed=1)
    quality = metrics.evaluate(believed, y, ood=ood)
    found = metrics.intervals(believed, y, ood=ood)
    assert found.keys() == quality.keys()
    for name, (low, high) in found.items():
        assert low - 1e-9 <= quality[name] <= high + 1e-9, name
        assert high > low, name
    assert metrics.intervals(believed, y, ood=ood) == found  # from a generator of its own


def test_a_regression_has_them_in_its_units():
    draws = torch.Generator().manual_seed(0)
    means, y = torch.randn(5, 90, generator=draws), torch.randn(90, generator=draws)
    believed = Predictive.from_gaussian(means, torch.full((5, 90), 1.5))
    for scale in (1.0, 20.0):
        quality = metrics.evaluate(believed, y, target_scale=scale)
        found = metrics.intervals(believed, y, target_scale=scale)
        assert found.keys() == quality.keys()
        assert all(low - 1e-9 <= quality[name] <= high + 1e-9 for name, (low, high) in found.items())


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    believed, y = beliefs(300)
    low, high = metrics.intervals(believed, y)["nll"]
    nll = -believed.mean[torch.arange(300), y].log()
    assert high - low == pytest.approx(2 * 1.96 * float(nll.std()) / math.sqrt(300), rel=0.2)


def test_delong_is_as_wide_as_the_bootstrap():
    inside, outside = (
        beliefs(150)[0],
        Predictive.from_logits(0.5 * beliefs(150, seed=1)[0].probabilities.log()),
    )
    low, high = metrics.intervals(inside, beliefs(150)[1], ood=outside)["auroc_entropy"]
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
    p = torch.eye(3)[[0, 0, 1, 1, 0, 1]][None]  # answers
    y = torch.tensor([0, 1, 1, 1, 0, 2])
    first, second, third = metrics.by_class(Predictive(probabilities=p), y)
    assert (first.examples, first.answered, first.precision, first.recall) == (2, 3, 2 / 3, 1.0)
    assert (second.examples, second.answered, second.precision, second.recall) == (3, 3, 2 / 3, 2 / 3)
    assert (third.examples, third.answered, third.precision, third.recall) == (1, 0, None, 0.0)
    assert first.recall_interval == metrics.wilson(2, 2)
