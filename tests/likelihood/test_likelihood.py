"""Likelihoods: densities, curvature, and the choice of a likelihood for given outputs."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood import (
    Bernoulli,
    Categorical,
    Embedding,
    Gaussian,
    NoisyGaussian,
    choose,
    for_training,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LOGITS = 6 * F.one_hot(torch.arange(200) % 4, 4).float() + random(200, 4)
LOGITS = LOGITS - LOGITS.mean(1, keepdim=True)


def test_densities():
    z, y = random(50, 3), torch.arange(50) % 3
    assert torch.allclose(Categorical().nll(z, y), F.cross_entropy(z, y, reduction="none"))
    p = z.softmax(1)
    assert torch.allclose(Categorical(probabilities=True).nll(p, y), Categorical().nll(z, y), atol=1e-5)
    target = random(50, 3, seed=1)
    normal = torch.distributions.Normal(z, 2.0)
    assert torch.allclose(Gaussian(2.0).nll(z, target), -normal.log_prob(target).sum(1), atol=1e-5)
    noisy = torch.distributions.Normal(z[:, 0], z[:, 1].exp())
    assert torch.allclose(
        NoisyGaussian().nll(z[:, :2], target[:, 0]), -noisy.log_prob(target[:, 0]), atol=1e-4
    )
    there = (target > 0).float()
    coin = torch.distributions.Bernoulli(logits=z)
    assert torch.allclose(Bernoulli().nll(z, there), -coin.log_prob(there).sum(1), atol=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "output"),
    [
        (Categorical(), torch.tensor([[0.3, -1.0, 0.5]])),
        (Categorical(probabilities=True), torch.tensor([[0.2, 0.5, 0.3]])),
        (Bernoulli(), torch.tensor([[0.3, -1.0]])),
        (Gaussian(torch.tensor([0.5, 3.0])), torch.tensor([[0.3, -1.0]])),
        (NoisyGaussian(), torch.tensor([[0.3, -0.4]])),
    ],
)
def test_directions_have_the_hessian_as_covariance(likelihood, output):
    """The covariance is the Hessian of the KL divergence from the output to itself."""
    many = output.expand(60_000, -1)
    drawn = likelihood.direction(many, 1.0, torch.Generator().manual_seed(0)).double()
    found = drawn.T @ drawn / len(drawn)
    x = output.double()
    hessian = torch.autograd.functional.hessian(lambda z: likelihood.divergence(x, z[None]), x[0])
    if getattr(likelihood, "probabilities", False):  # the direction along p has no effect
        assert torch.allclose(found @ x[0], torch.zeros(3).double(), atol=0.05)
    assert (found - hessian).abs().max() < 0.05 * hessian.abs().max()


def test_the_choice_from_labels():
    z = random(60, 3)
    assert isinstance(choose(z, torch.arange(60) % 3).likelihood, Categorical)
    assert isinstance(choose(z, random(60, 3, seed=1)).likelihood, Gaussian)
    assert isinstance(choose(z, (random(60, 3, seed=1) > 0).float()).likelihood, Bernoulli)
    assert isinstance(choose(z, F.one_hot(torch.arange(60) % 3)).likelihood, Categorical)
    assert isinstance(choose(z[:, :1], torch.arange(60) % 2).likelihood, Bernoulli)
    assert isinstance(
        choose(torch.stack((random(60), 0 * random(60)), 1), random(60)).likelihood, NoisyGaussian
    )
    assert choose(random(60, 5, 7), torch.zeros(60, 5, dtype=torch.long)).likelihood.last


def test_the_choice_without_labels():
    assert isinstance(choose(LOGITS).likelihood, Categorical)
    assert isinstance(choose(LOGITS.softmax(1)).likelihood, Categorical)
    assert isinstance(choose(random(200, 3)).likelihood, Gaussian)
    assert isinstance(choose(10 * random(200, 4)).likelihood, Gaussian)  # large, but not like trained logits
    levels = random(200, 3) + torch.tensor([100.0, 0, -100])
    assert isinstance(choose(levels).likelihood, Gaussian)
    assert isinstance(choose(F.normalize(random(200, 16))).likelihood, Embedding)
    assert isinstance(choose(random(200, 2), noisy=True).likelihood, NoisyGaussian)
    assert isinstance(choose(LOGITS, task="regression").likelihood, Gaussian)


def test_scores():
    y = random(300, 2) * torch.tensor([1.0, 1000.0])
    output = y.clone()
    output[:, 0] = 0  # the smaller target is lost
    likelihood = Gaussian.of(y)
    assert float(likelihood.values(y, y).mean()) == 1
    assert float(likelihood.values(output, y).mean()) == pytest.approx(0.5, abs=0.02)
    vectors = random(10, 8)
    assert torch.allclose(Embedding().values(3 * vectors, vectors), torch.ones(10).double())
    assert Categorical().guessing(torch.tensor([0, 0, 0, 1])) == 0.75


@pytest.mark.parametrize(
    ("labels", "task", "words"),
    [
        (torch.full((60,), 3), None, "number them from 0 to 2"),
        (torch.rand(60) + 0.5, "classification", "must be integers"),
        (torch.zeros(60, 2), None, "do not fit outputs"),
        (torch.zeros(59), None, "59 labels for 60 outputs"),
        (torch.full((60, 3), math.nan), None, "NaN"),
        (torch.full((60, 3), 0.5), "multilabel", "must be 0 or 1"),
        (None, "clustering", "take one of"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, task, words):
    with pytest.raises(SzilardError, match=words):
        choose(random(60, 3), labels, task=task)


def test_likelihoods_for_training():
    assert isinstance(for_training("classification"), Categorical)
    assert isinstance(for_training("regression"), NoisyGaussian)
    with pytest.raises(SzilardError, match="take one of"):
        for_training("x")


@pytest.mark.parametrize("shape", [(300, 20, 2), (300, 2, 5, 5)])
def test_channels_of_different_scales_have_separate_deviations(shape):
    sizes = torch.tensor([1e4, 1e-2])
    y = random(*shape) * (sizes if shape[-1] == 2 else sizes[:, None, None])
    likelihood = Gaussian.of(y)
    assert torch.allclose(likelihood.scale.flatten().float(), sizes, rtol=0.05)
    likelihood.check(y, y)
    wrong = y.clone()
    (wrong[..., 1] if shape[-1] == 2 else wrong[:, 1]).zero_()
    assert float(likelihood.values(wrong, y).mean()) == pytest.approx(
        0.5, abs=0.01
    )  # one of two channels is lost
    assert torch.isfinite(likelihood.direction(y, 1.0, torch.Generator().manual_seed(0))).all()


def test_channels_of_one_scale_share_a_deviation():
    assert Gaussian.of(random(300, 20, 2)).scale.numel() == 1


def test_targets_far_from_zero_use_their_own_deviation():
    y = 1e6 + random(200, 1).double()
    assert float(Gaussian.of(y).scale) == pytest.approx(float(y.std()), rel=0.01)
    assert float(Gaussian.of(y, answered=True).scale) == pytest.approx(
        10, rel=0.01
    )  # the limit of float32 outputs


@pytest.mark.parametrize("kind", [Gaussian, lambda scale: NoisyGaussian(scale=scale)])
@pytest.mark.parametrize(
    "scale", [0, -1.0, math.nan, math.inf, None, "1", True, torch.zeros(0), torch.tensor([1.0, 0.0])]
)
def test_deviations_that_are_none_are_refused(kind, scale):
    with pytest.raises(SzilardError, match=r"^deviations must be "):
        kind(scale)


@pytest.mark.parametrize("outputs", [0, 1.5, True, "2"])
def test_a_number_of_outputs_is_whole(outputs):
    with pytest.raises(SzilardError, match="a whole number of outputs, at least one"):
        NoisyGaussian(outputs=outputs)
