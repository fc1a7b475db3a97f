"""Targets of every kind: masks, missing labels, numbers of any dtype; and invalid targets."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import SzilardError, methods
from szilard.likelihood import Bernoulli, Categorical, Gaussian, NoisyGaussian


def test_masks_with_one_logit_are_two_classes():
    method = methods.Deterministic(4)
    network = method.prepare(nn.Conv2d(1, 1, 3, padding=1))
    x = torch.randn(4, 1, 5, 5)
    y = torch.randint(0, 2, (4, 5, 5))
    z = network(x).squeeze(1)
    y[0, 0] = -100
    known = y != -100
    terms = F.binary_cross_entropy_with_logits(z, y.clamp_min(0).float(), reduction="none") * known
    for labels in (y, y.unsqueeze(1), y.float()):
        assert torch.allclose(method.loss(network, x, labels), terms.sum() / 4, rtol=1e-5)
    predictive = method.predict(network, x)
    assert predictive.probabilities.shape == (1, 4, 2, 5, 5)
    assert torch.equal(predictive.labels, (z > 0).long())
    found = szilard.metrics.evaluate(predictive, y, ignore_index=-100)
    assert found["accuracy"] == pytest.approx(float(((z > 0) == y)[known].double().mean()))
    with pytest.raises(SzilardError, match="ignore_index=-100"):
        szilard.metrics.evaluate(predictive, y)


def test_class_weights_apply_to_masks():
    method = methods.Deterministic(4)
    network = method.prepare(nn.Conv2d(1, 1, 1))
    x, y = torch.randn(4, 1, 3, 3), torch.randint(0, 2, (4, 3, 3))
    method.class_weights = torch.tensor([0.5, 3.0])
    z = network(x).squeeze(1)
    weights = torch.where(y == 1, 3.0, 0.5)
    expected = (F.binary_cross_entropy_with_logits(z, y.float(), reduction="none") * weights).sum() / 4
    assert torch.allclose(method.loss(network, x, y), expected, rtol=1e-5)


def test_a_single_class_is_refused():
    with pytest.raises(SzilardError, match="a single class"):
        Categorical().check(torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))
    with pytest.raises(SzilardError, match="a single class"):
        Categorical(last=True).check(torch.zeros(3, 5, 1), torch.zeros(3, 5, dtype=torch.long))


def test_missing_labels_are_ignored():
    z = torch.tensor([[1.0, -2.0], [0.5, 0.5], [3.0, 1.0]])
    y = torch.tensor([[1, -100], [-100, -100], [0, 1]])
    likelihood = Bernoulli()
    likelihood.check(z, y)
    expected = [F.softplus(-z[0, 0]), 0.0, F.softplus(z[2, 0]) + F.softplus(-z[2, 1])]
    assert torch.allclose(likelihood.nll(z, y), torch.tensor(expected))
    assert likelihood.labelled(z, y).tolist() == [True, False, True]
    assert likelihood.labelled(z, y.clamp_min(0)) is None
    assert likelihood.values(z, y).tolist() == [1.0, 0.0, 0.5]
    assert likelihood.guessing(y) == pytest.approx((0.5 + 1.0) / 2)
    method = methods.Deterministic(3)
    network = method.prepare(nn.Identity().requires_grad_(), "multilabel")
    assert method.loss(network, z, y).item() == pytest.approx(float(likelihood.nll(z, y).sum()) / 2)


def test_metrics_with_missing_labels():
    predictive = szilard.metrics.Predictive(
        probabilities=torch.tensor([[[0.9, 0.2], [0.3, 0.6]]]), multilabel=True
    )
    y = torch.tensor([[1, -100], [1, 0]])
    with pytest.raises(SzilardError, match="ignore_index=-100"):
        szilard.metrics.evaluate(predictive, y)
    found = szilard.metrics.evaluate(predictive, y, ignore_index=-100)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["accuracy_all"] == 0.5
    assert szilard.metrics.f1(predictive, y)[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("scale", [-1.0, 0.0, float("nan"), torch.tensor([1.0, 0.0])])
@pytest.mark.parametrize("kind", [Gaussian, NoisyGaussian])
def test_deviations_must_be_above_zero(kind, scale):
    with pytest.raises(SzilardError, match="above zero and finite"):
        kind(scale)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.bool])
def test_fit_takes_labels_of_any_dtype(dtype):
    x = torch.randn(80, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).to(dtype)
    split = szilard.data.Split
    data = szilard.data.DataSet(
        "mine",
        "classification",
        split(x[:40], y[:40]),
        split(x[40:60], y[40:60]),
        split(x[60:], y[60:]),
        None,
        None,
        ("no", "yes"),
        torch.zeros(1),
        torch.ones(1),
    )
    run = szilard.fit(
        methods.Deterministic(40), nn.Linear(6, 2), data, epochs=2, class_weights="balanced", progress=False
    )
    assert 0 <= run.test["accuracy"] <= 1


def test_evaluate_refuses_other_objects():
    with pytest.raises(SzilardError, match=r"the result of method\.predict"):
        szilard.metrics.evaluate(torch.rand(3, 2), torch.zeros(3))


def test_two_quantiles_are_not_mean_and_noise():
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(200, generator=generator) * 5
    quantiles = torch.stack((y - 8, y + 8), 1)
    with pytest.raises(SzilardError, match="are not a mean and its ln noise"):
        szilard.likelihood.choose(quantiles, y)
    noisy = torch.stack((y + 0.1, torch.zeros(200)), 1)
    assert isinstance(szilard.likelihood.choose(noisy, y).likelihood, NoisyGaussian)


def test_labels_may_be_probabilities_of_classes():
    z = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    found = szilard.likelihood.choose(z, z.softmax(1)).likelihood
    assert isinstance(found, Categorical)
    assert float(found.values(z, z.softmax(1)).mean()) == 1


def test_a_coverage_of_1_has_a_wilson_interval():
    predictive = szilard.metrics.Predictive.from_gaussian(torch.zeros(1, 36, 2), torch.ones(1, 36, 2))
    found = szilard.metrics.several_intervals(predictive, torch.zeros(36, 2), torch.ones(2))
    assert found["coverage95"] == szilard.metrics.wilson(36, 36)
