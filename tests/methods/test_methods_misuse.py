"""Common mistakes and unusual uses of methods work or are refused."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from plain_loop import batches, mlp, prepared, step
from torch import nn

import szilard
from szilard import SzilardError, SzilardWarning, methods
from szilard.likelihood import Categorical, Gaussian, NoisyGaussian


@pytest.mark.parametrize("how", ["no_grad", "eval"])
@pytest.mark.parametrize("kind", [methods.MeanField, methods.SSVI])
def test_validation_losses_do_not_change_training(kind, how):
    seen = batches(6)

    def train(validating: bool):
        method = kind(96, seed=3)
        network, optimizer = prepared(method)
        for x, y in seen:
            step(method, network, optimizer, x, y)
            if validating:
                network.train(how == "no_grad")
                with torch.set_grad_enabled(how == "eval"):
                    method.loss(network, *seen[0])
        return list(network.parameters())

    assert all(torch.equal(a, b) for a, b in zip(train(True), train(False), strict=True))


def test_a_first_loss_without_gradients_does_not_set_total_steps():
    method = methods.MeanField(1000)
    network, _ = prepared(method)
    with torch.no_grad():
        method.loss(network, *batches(1)[0])
    assert method.total_steps is None
    method.loss(network, *batches(1)[0])
    assert method.total_steps == 30 * 63


def test_losses_in_gradient_accumulation_have_different_noise():
    method = methods.MeanField(96)
    network, _ = prepared(method)
    x, y = batches(1)[0]
    assert method.loss(network, x, y) != method.loss(network, x, y)


@pytest.mark.parametrize("kind", [methods.SSVI, methods.Deterministic])
def test_a_weight_frozen_after_prepare_is_not_moved(kind):
    method = kind(640, density=0.3, every=5, growth_batches=3, total_steps=60)
    network, _ = prepared(method)
    network[2].requires_grad_(False)
    optimizer = method.optimizer(network)
    frozen, free = network[2].weight, network[0].weight
    before = frozen.support.col.clone(), frozen.mean.detach().clone()
    others = free.support.col.clone()
    for x, y in batches(20):
        step(method, network, optimizer, x, y)
    assert torch.equal(frozen.support.col, before[0])
    assert torch.equal(frozen.mean, before[1])
    assert not torch.equal(free.support.col, others)


def test_a_used_method_cannot_prepare_a_second_network():
    method = methods.SSVI(96)
    network, optimizer = prepared(method)
    state = method.state_dict()
    step(method, network, optimizer, *batches(1)[0])
    with pytest.raises(SzilardError, match="has already trained a network"):
        method.prepare(mlp())
    method.load_state_dict(state)
    method.prepare(mlp())


@pytest.mark.parametrize(
    "method",
    [
        methods.SSVI(96),
        methods.MeanField(96),
        methods.VariationalDropout(96),
        methods.BayesianCompression(96),
        methods.Deterministic(96, density=0.5),
    ],
    ids=lambda method: method.name,
)
def test_a_network_that_was_not_prepared_is_refused(method):
    network = mlp()
    method.prepare(network)  # the prepared network is discarded
    with pytest.raises(SzilardError, match="this network has none"):
        method.loss(network, *batches(1)[0])


def test_a_dense_method_takes_any_network():
    assert methods.Deterministic(96).loss(mlp(), *batches(1)[0]) > 0


def test_states_of_other_methods_are_refused():
    for method in (methods.SSVI(10), methods.Deterministic(10), methods.MeanField(10)):
        with pytest.raises(SzilardError, match="has no"):
            method.load_state_dict({})
    with pytest.raises(SzilardError, match="has no moves"):
        methods.SSVI(10).load_state_dict(methods.MeanField(10).state_dict())


def test_a_network_made_in_inference_mode_is_refused():
    with torch.inference_mode(), pytest.raises(SzilardError, match="inference_mode"):
        methods.SSVI(10).prepare(mlp())


def test_a_method_can_be_copied_after_a_loss():
    method = methods.SSVI(96)
    network, optimizer = prepared(method)
    x, y = batches(1)[0]
    step(method, network, optimizer, x, y)
    other, twin = copy.deepcopy((method, network))
    assert other.last_energy == method.last_energy
    assert torch.equal(other.loss(twin.train(), x, y), method.loss(network.train(), x, y))


def test_two_optimisers_carry_their_state_over_moves():
    seen = batches(12)
    found = []
    for several in (False, True):
        method = methods.SSVI(640, density=0.3, every=5, growth_batches=3, total_steps=60)
        network, _ = prepared(method)
        parameters = list(network.parameters())
        if several:
            optimizers = [
                torch.optim.Adam(parameters[:3], lr=1e-3),
                torch.optim.Adam(parameters[3:], lr=1e-3),
            ]
        else:
            optimizers = [torch.optim.Adam(parameters, lr=1e-3)]
        for x, y in seen:
            method.loss(network, x, y).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            method.after_step(network, optimizers if several else optimizers[0])
        found.append(parameters)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"only": "2"}, {"network.2"}),
        ({"except_": "2"}, {"network.0"}),
        ({"only": lambda name, module: name == "2"}, {"network.2"}),
    ],
)
@pytest.mark.parametrize("task", ["regression", NoisyGaussian()])
def test_names_are_those_of_the_users_network(options, names, task):
    method = methods.SSVI(100, density=0.5, **options)
    network = method.prepare(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)), task=task)
    assert set(szilard.bayes.weights(network)) == names


def test_training_in_eval_mode_is_warned_about_once():
    method = methods.MeanField(64)
    network, optimizer = prepared(method)
    network.eval()
    x, y = batches(1)[0]

    def again():
        method.loss(network, x, y).backward()
        optimizer.step()
        method.after_step(network, optimizer)

    with pytest.warns(SzilardWarning, match="trained in eval mode"):
        again()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again()


def test_inputs_without_a_batch_dimension_are_refused():
    method = methods.SSVI(64)
    network = method.prepare(nn.Linear(6, 3))
    x = torch.randn(6)
    with pytest.raises(SzilardError, match="batch dimension"):
        method.predict(network, x)
    with pytest.raises(SzilardError, match="batch dimension"):
        method.loss(network, x, torch.tensor([1, 0, 1]))


def test_outputs_that_depend_on_the_batch_are_refused_with_advice():
    class Similarity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 4)

        def forward(self, x):
            return self.a(x) @ self.a(x).T

    method = methods.Deterministic(64)
    network, x = method.prepare(Similarity()), torch.randn(10, 6)
    with pytest.raises(SzilardError, match="batch_size="):
        method.predict(network, x, batch_size=4)
    assert method.predict(network, x).probabilities.shape == (1, 10, 10)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: szilard.bayesianize(mlp(), "0.1"), "one number"),
        (lambda: szilard.bayesianize(mlp(), only=3), "must be a pattern"),
        (lambda: methods.SSVI("100"), "whole number"),
        (lambda: methods.SSVI(10.5), "whole number"),
        (lambda: methods.SSVI(10).prepare(mlp(), task=Categorical), "give an object"),
        (lambda: Gaussian(torch.ones(2)).check(torch.zeros(4, 3), torch.zeros(4, 3)), "2 deviations"),
    ],
)
def test_arguments_of_wrong_types_are_refused(make, match):
    with pytest.raises(SzilardError, match=match):
        make()


def test_weights_without_an_optimiser_keep_their_supports():
    method = methods.SSVI(640, density=0.3, every=5, growth_batches=3, total_steps=60)
    network, _ = prepared(method)
    head = torch.optim.Adam(network[4].parameters(), lr=1e-3)
    before = [weight.support.col.clone() for weight in szilard.bayes.weights(network).values()]
    for x, y in batches(20):
        step(method, network, head, x, y)
    after = [weight.support.col for weight in szilard.bayes.weights(network).values()]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, False]


def test_an_image_without_a_batch_dimension_is_refused_after_training():
    method = methods.SSVI(64, density=0.5)
    network = method.prepare(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)))
    method.loss(network, torch.randn(8, 3, 5, 5), torch.randint(0, 3, (8, 5, 5)))
    with pytest.raises(SzilardError, match="add the batch dimension"):
        method.predict(network, torch.randn(3, 5, 5))
