"""Predictions of a method in one pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from szilard import SzilardError, bayes, likelihood, methods
from szilard.data.reading import Column, Reading
from szilard.data.unseen import StandIns
from szilard.metrics import Predictive, evaluate
from szilard.networks import WithNoise


def prepared(network, task="classification", log_std=-2.0, **options):
    method = methods.SSVI(n_data=100, density=1.0, **options)
    found = method.prepare(network, task).eval()
    for weight in bayes.weights(found).values():
        weight.log_std.data.fill_(log_std)
    return method, found


def network(outputs, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, outputs))


X = torch.randn(200, 6, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("calibration", [1.0, 2.0])
def test_classes_are_those_of_many_draws(calibration):
    method, found = prepared(network(4))
    method.calibration = calibration
    one, many = method.predict_one_pass(found, X), method.predict(found, X, samples=400)
    torch.testing.assert_close(one.mean, many.mean, atol=0.03, rtol=0)
    for name in ("aleatoric", "epistemic"):
        ours, theirs = getattr(one, name)(), getattr(many, name)()
        assert float(torch.corrcoef(torch.stack((ours, theirs)))[0, 1]) > 0.9
    assert float((one.epistemic() / many.epistemic()).median()) == pytest.approx(0.9, abs=0.2)


def test_batches_do_not_matter():
    method, found = prepared(network(3))
    whole, parts = method.predict_one_pass(found, X), method.predict_one_pass(found, X, batch_size=7)
    torch.testing.assert_close(whole.samples, parts.samples, atol=1e-5, rtol=1e-4)


def test_one_logit_means_two_classes():
    method, found = prepared(network(1))
    one = method.predict_one_pass(found, X)
    assert one.mean.shape == (200, 2)
    torch.testing.assert_close(one.mean, method.predict(found, X, samples=1600).mean, atol=0.03, rtol=0)


def test_labels_have_their_own_probability():
    method, found = prepared(network(3), "multilabel")
    one, many = method.predict_one_pass(found, X), method.predict(found, X, samples=400)
    assert one.multilabel
    torch.testing.assert_close(one.mean, many.mean, atol=0.03, rtol=0)


@pytest.mark.parametrize("targets", [1, 2])
def test_a_linear_regression_is_exact(targets):
    """Of a linear network the moments are exact: v = Σ x² s², and noise e^(2 m + 2 v)."""
    torch.manual_seed(0)
    task = likelihood.NoisyGaussian(outputs=targets)
    method, found = prepared(nn.Linear(6, 2 * targets), task)
    assert isinstance(found, WithNoise)
    one = method.predict_one_pass(found, X)
    output = found(X).detach()
    spread = X.square().sum(1, keepdim=True) * math.exp(-4)
    shape = one.mean.shape
    torch.testing.assert_close(one.mean, output[:, :targets].reshape(shape).to(one.mean))
    torch.testing.assert_close(
        one.epistemic(), spread.expand(-1, targets).reshape(shape).to(one.mean), rtol=1e-4, atol=1e-6
    )
    noise = (2 * output[:, targets:] + 2 * spread).exp()
    torch.testing.assert_close(one.aleatoric(), noise.reshape(shape).to(one.mean), rtol=1e-4, atol=1e-6)


def test_a_known_noise_stays():
    method, found = prepared(network(1), likelihood.Gaussian(0.5))
    one = method.predict_one_pass(found, X)
    torch.testing.assert_close(one.aleatoric(), torch.full((200,), 0.25, dtype=one.mean.dtype))


def test_a_predictive_of_moments_is_exact():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(5, generator=generator, dtype=torch.float64)
    variance = torch.rand(5, generator=generator, dtype=torch.float64)
    noise = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1
    found = Predictive.from_moments(mean, variance, noise)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.epistemic(), variance)
    torch.testing.assert_close(found.aleatoric(), noise)
    # The mixture of the samples has nearly the density of the Gaussian with the total variance.
    total = variance + noise
    exact = 0.5 * ((mean - 1).square() / total + total.log() + math.log(2 * math.pi))
    assert evaluate(found, torch.ones(5).double())["nll"] == pytest.approx(float(exact.mean()), abs=2e-3)


def test_outputs_that_are_not_finite():
    method, found = prepared(network(3))
    with pytest.raises(SzilardError, match="NaN"):
        method.predict_one_pass(found, torch.full((2, 6), float("nan")))


def test_an_operation_without_a_rule_is_named():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            return self.layer(x).sort(1).values

    method, found = prepared(Sorted())
    with pytest.raises(SzilardError, match="sort"):
        method.predict_one_pass(found, X)


@pytest.mark.parametrize("outputs", [2, 3])
def test_an_unseen_category_is_the_mixture_of_known_ones(outputs):
    """Of a linear network without uncertainty, the variance of the mean is that of the stand-ins' means alone."""
    shift = torch.tensor([0.0, 0.5, 0.3, 0.2])
    scale = torch.tensor([1.0, 0.5, 0.46, 0.4])
    reading = Reading((Column("a", "number"), Column("c", "category", ("x", "y", "z"))))
    torch.manual_seed(0)
    task = likelihood.NoisyGaussian() if outputs == 2 else "classification"
    method, found = prepared(nn.Linear(4, outputs), task, log_std=-9.0)
    method.stand_ins = StandIns.of(reading, shift, scale)
    x = (torch.tensor([[1.0, 0, 1, 0], [1.0, 0, 0, 0], [2.0, 0, 0, 0]]) - shift) / scale
    one, many = method.predict_one_pass(found, x), method.predict(found, x, samples=320)
    torch.testing.assert_close(one.mean, many.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(one.epistemic(), many.epistemic(), atol=0.02, rtol=0.06)
    assert one.epistemic()[0] < 1e-3
    assert one.epistemic()[1:].min() > 0.01
    method.stand_ins = None
    torch.testing.assert_close(one.mean[0], method.predict_one_pass(found, x[:1]).mean[0])
