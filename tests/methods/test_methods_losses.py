"""Losses of every kind of target against torch.distributions, and invalid targets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import X, integers, layered, random
from torch import nn
from torch.distributions import Bernoulli as Coin
from torch.distributions import Categorical as Dice
from torch.distributions import Normal

from szilard import bayes, methods, metrics
from szilard.errors import SzilardError
from szilard.likelihood import Categorical, Embedding, Gaussian, NoisyGaussian
from szilard.networks import WithNoise


def prepared(network, task="classification", **options):
    method = methods.MeanField(16, **options)
    return method, method.prepare(
        network, task
    ).eval()  # in eval mode the outputs are those of the mean network


def energy(network, x, y, task="classification"):
    method, network = prepared(network, task)
    method.loss(network, x, y)
    with torch.no_grad():
        return method.last_energy, network(x)


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y,
        lambda y: y[:, None],
        lambda y: y.double(),
        lambda y: y.round().long(),
        lambda y: y.bfloat16(),
        lambda y: y > 0,
    ],
)
def test_regression_targets_of_any_shape_and_dtype(change):
    y = change(1000 * random(16, seed=1))  # the int64 1001 must not be rounded to bfloat16
    found, output = energy(layered(1), X, y, "regression")
    expected = -Normal(output[:, 0], output[:, 1].exp()).log_prob(y.reshape(16).float()).mean()
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_the_loss_of_a_bfloat16_network_is_computed_in_float32():
    network = WithNoise(layered(1)).bfloat16()
    y = 2.0 * torch.arange(16) + 301
    output = network(X.bfloat16()).detach()
    nll = NoisyGaussian().nll(output, y)
    mean, log = output.float().unbind(1)
    assert nll.dtype is torch.float32
    assert torch.allclose(nll, -Normal(mean, log.exp()).log_prob(y.float()), rtol=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans())
def test_the_likelihood_of_an_example_is_the_sum_over_positions(classes, positions, ignore):
    z, y = random(3, classes, *positions), integers(classes, 3, *positions)
    if ignore:
        y[0].flatten()[0] = -100
    expected = -Dice(logits=z.movedim(1, -1)).log_prob(y.clamp_min(0)) * (y != -100)
    expected = expected.flatten(1).sum(1)
    assert torch.allclose(Categorical(ignore=-100).nll(z, y), expected, atol=1e-4)
    last = Categorical(last=True, ignore=-100).nll(z.movedim(1, -1), y)
    assert torch.allclose(last, expected, atol=1e-4)


def test_the_kl_counts_once_for_all_examples_with_any_number_of_pixels():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    method, network = prepared(network, temperature=1.0)
    x, y = random(4, 3, 6, 6), integers(5, 4, 6, 6)
    method.loss(network, x, y)
    expected = -Dice(logits=network(x).detach().movedim(1, -1)).log_prob(y).sum((1, 2)).mean()
    assert method.last_energy == pytest.approx(float(expected), rel=1e-5)
    assert method.last_cost == pytest.approx(float(bayes.kl(network)) / 16, rel=1e-5)


def test_examples_without_a_label_are_left_out():
    y = integers(5, 16)
    part = torch.where(torch.arange(16) < 6, y, torch.tensor(-100))
    found, output = energy(layered(5), X, part)
    assert found == pytest.approx(float(nn.functional.cross_entropy(output, part)), rel=1e-5)
    assert energy(layered(5), X, torch.full((16,), -100))[0] == 0  # not NaN


def test_several_labels_and_several_targets():
    y = integers(2, 16, 5)
    found, output = energy(layered(5), X, y.bool(), "multilabel")
    assert found == pytest.approx(float(-Coin(logits=output).log_prob(y.float()).sum(1).mean()), rel=1e-5)
    y = random(16, 3, seed=2)
    found, output = energy(layered(3), X, y, NoisyGaussian(outputs=3))
    noisy = Normal(output[:, :3], output[:, 3:].exp())
    assert found == pytest.approx(float(-noisy.log_prob(y).sum(1).mean()), rel=1e-5)
    deviations = torch.tensor([0.5, 1.0, 4.0])
    found, output = energy(layered(3), X, y, Gaussian(deviations))
    assert found == pytest.approx(float(-Normal(output, deviations).log_prob(y).sum(1).mean()), rel=1e-5)


def test_every_target_learns_its_own_noise():
    y = torch.stack((0.05 * random(512, seed=1), 3 * random(512, seed=2)), 1)
    method = methods.Deterministic(512, lr=3e-2)
    network = method.prepare(nn.Linear(1, 2), NoisyGaussian(outputs=2))
    optimizer = method.optimizer(network)
    for _ in range(400):
        method.loss(network, torch.zeros(512, 1), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    assert torch.allclose(network.log_noise.exp(), y.std(0), rtol=0.1)
    predictive = method.predict(network, torch.zeros(4, 1))
    assert torch.allclose(predictive.aleatoric().sqrt(), y.std(0).expand(4, 2), rtol=0.1)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    "change", [lambda y: y, lambda y: y[:, None], lambda y: y.float(), lambda y: y.bool()]
)
def test_one_logit_for_two_classes(flat, change):
    network = nn.Sequential(layered(1), nn.Flatten(0)) if flat else layered(1)
    y = integers(2, 16)
    method, network = prepared(network)
    method.loss(network, X, change(y))
    z = network(X).detach().reshape(16)
    assert method.last_energy == pytest.approx(float(-Coin(logits=z).log_prob(y.float()).mean()), rel=1e-5)
    predictive = method.predict(methods.Deterministic(1).prepare(bayes.point_network(network)), X)
    assert predictive.mean.shape == (16, 2)
    assert torch.allclose(predictive.mean[:, 1], z.sigmoid(), atol=1e-6)


KINDS = [
    (layered(3), integers(3, 16), "classification", (16, 3)),
    (layered(1), integers(2, 16), "classification", (16, 2)),
    (layered(5), integers(2, 16, 5), "multilabel", (16, 5)),
    (layered(1), random(16), "regression", (16,)),
    (layered(3), random(16, 3), NoisyGaussian(outputs=3), (16, 3)),
    (layered(3), random(16, 3), Gaussian(0.5), (16, 3)),
    (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 5)), integers(5, 16, 2), Categorical(last=True), (16, 5, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("network", "y", "task", "shape"), KINDS)
def test_loss_predict_and_evaluate_for_every_kind_of_target(network, y, task, shape):
    method = methods.SSVI(16, density=0.5)
    network = method.prepare(network, task)
    optimizer = method.optimizer(network)
    for _ in range(2):
        method.loss(network, X, y).backward()
        optimizer.step()
        method.after_step(network, optimizer)
    predictive = method.predict(network, X, samples=3)
    assert predictive.mean.shape == shape
    assert predictive.shape == y.shape == predictive.epistemic().shape == predictive.aleatoric().shape
    assert all(torch.isfinite(torch.tensor(value)) for value in metrics.evaluate(predictive, y).values())


@pytest.mark.parametrize(
    ("network", "y", "task", "words"),
    [
        (layered(1), random(1), "regression", r"shape \[1\].*\[16\]"),
        (layered(1), random(8), "regression", "give targets of shape"),
        (layered(1), random(16, 2), "regression", r"NoisyGaussian\(outputs=2\)"),
        (layered(3), random(16, 3), "regression", r"NoisyGaussian\(outputs=3\)"),
        (layered(1), random(16).log(), "regression", "NaN"),
        (layered(1), [1.0] * 16, "regression", "targets are list"),
        (layered(3), torch.full((16,), 3), "classification", "number them from 0 to 2"),
        (layered(3), torch.full((16,), -1), "classification", "number them from 0 to 2"),
        (layered(3), integers(3, 16).float(), "classification", "must be integers"),
        (layered(3), integers(3, 15), "classification", "labels have shape"),
        (layered(5), integers(2, 16, 5).float(), "classification", "multilabel"),
        (layered(3), torch.full((16,), -100), Categorical(), r"Categorical\(ignore=-100\)"),
        (layered(4), integers(2, 16), "multilabel", "a 0 or 1 for each output"),
        (layered(4), integers(3, 16, 4), "multilabel", "must be 0 or 1"),
        (nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))), random(16, 3, 2), Gaussian(), "one target for each"),
        (nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3))), integers(3, 16, 2), "classification", "last=True"),
        (layered(1).half(), random(16).half(), "regression", "float16"),
    ],
)  # fmt: skip
def test_invalid_targets_give_one_line(network, y, task, words):
    x = X.to(next(network.parameters()).dtype)
    method = methods.Deterministic(16)
    with pytest.raises(SzilardError, match=words) as caught:
        method.loss(method.prepare(network, task), x, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "words"), [("segmentation", "take one of"), (Embedding(), "no predicted probabilities")]
)
def test_tasks_that_cannot_be_trained_are_refused_before_training(task, words):
    with pytest.raises(SzilardError, match=words):
        methods.Deterministic(16).prepare(layered(2), task)


def test_soft_labels_are_probabilities_of_classes():
    p = random(16, 3, seed=1).softmax(1)
    found, output = energy(layered(3), X, p)
    assert found == pytest.approx(float(nn.functional.cross_entropy(output, p)), rel=1e-5)
