"""The negative log likelihood of each example, beside the mean that ``evaluate`` returns."""

from __future__ import annotations

import math

import pytest
import torch

from szilard import SzilardError, metrics
from szilard.metrics import Predictive

GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def test_known_values():
    p = Predictive(probabilities=torch.tensor([[[0.5, 0.5], [0.2, 0.8]], [[0.7, 0.3], [0.0, 1.0]]]))
    found = metrics.nll_of_each(p, torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([-math.log(0.6), -math.log(0.9)], rel=1e-6)
    one = Predictive.from_gaussian(torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 1.0]]))
    found = metrics.nll_of_each(one, torch.tensor([3.0, 0.0]), target_scale=10.0)
    half = 0.5 * math.log(2 * math.pi)
    assert found.tolist() == pytest.approx([0.5 + math.log(20) + half, math.log(10) + half])


CASES = {
    "classes": (Predictive.from_logits(random(3, 6, 4)), torch.arange(6) % 4, 1.0),
    "pixels": (Predictive.from_logits(random(3, 6, 4, 2, 5)), torch.arange(60).reshape(6, 2, 5) % 4, 1.0),
    "labels": (Predictive.from_binary_logits(random(3, 6, 2)), torch.arange(12).reshape(6, 2) % 2, 1.0),
    "a quantity": (Predictive.from_gaussian(random(3, 6), random(3, 6).exp()), random(6), 2.5),
    "quantities": (
        Predictive.from_gaussian(random(3, 6, 2), random(3, 6, 2).exp()),
        random(6, 2),
        torch.tensor([2.0, 0.1], dtype=torch.float64),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_mean_is_the_nll_of_evaluate(case):
    predictive, y, scale = CASES[case]
    found = metrics.nll_of_each(predictive, y, target_scale=scale)
    assert found.shape == (6,)
    assert len(set(found.tolist())) == 6
    expected = metrics.evaluate(predictive, y, target_scale=scale)["nll"]
    assert float(found.mean()) == pytest.approx(expected, rel=1e-6)


def test_ignored_labels_do_not_count():
    predictive, y, _ = CASES["pixels"]
    whole = metrics.nll_of_each(predictive, y)
    some = y.clone()
    some[1] = -100
    some[2, 0] = -100
    found = metrics.nll_of_each(predictive, some, ignore_index=-100)
    assert found.shape == (5,)
    assert found[[0, 2, 3, 4]].tolist() == pytest.approx(whole[[0, 3, 4, 5]].tolist())
    below = -predictive.mean[2].double()[y[2, 1], 1, torch.arange(5)].log().mean()
    assert float(found[1]) == pytest.approx(float(below), rel=1e-6)
    with pytest.raises(SzilardError):
        metrics.nll_of_each(predictive, torch.full_like(y, -100), ignore_index=-100)
