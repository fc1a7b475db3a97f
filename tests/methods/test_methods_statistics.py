"""Batch-norm statistics after training, several inputs and outputs, and weight decay."""

from __future__ import annotations

import warnings

import pytest
import torch
from loss_inputs import X, integers, layered, random
from torch import nn

from szilard import bayes, methods
from szilard.errors import SzilardError, SzilardWarning


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        a, b = x.values() if isinstance(x, dict) else x
        return self.layer(a) + self.layer(b)


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: dict(zip("ab", pair, strict=True))])
def test_several_inputs_in_the_loss_and_in_predictions(kind):
    method = methods.SSVI(16, density=0.5)
    network = method.prepare(Pair())
    x = kind([X, 2 * X])
    method.loss(network, x, integers(3, 16))
    assert method.total_steps == 30  # a batch has 16 examples, not 2
    in_parts = method.predict(network, x, samples=2, batch_size=5).mean
    torch.testing.assert_close(in_parts, method.predict(network, x, samples=2).mean)
    with pytest.raises(SzilardError, match="must be the same in each"):
        method.predict(network, kind([X, X[:3]]))


def test_networks_with_two_outputs_and_batches_of_one_are_refused():
    method = methods.Deterministic(16)
    with pytest.raises(SzilardError, match="returns tuple"):
        method.loss(nn.LSTM(4, 3), X, integers(3, 16))
    with pytest.raises(SzilardError, match="returns tuple"):
        method.predict(nn.LSTM(4, 3), X)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(SzilardError, match="batch of one example"):
        method.loss(network.train(), X[:1], integers(3, 1))
    with pytest.raises(SzilardError, match="samples must be at least 1"):
        method.predict(network, X, samples=0)
    with torch.no_grad():
        network[0].weight.fill_(6e4)
    with pytest.raises(SzilardError, match="float16 overflows above 65504"):
        method.predict(network.half(), X.half())


def test_weight_decay_does_not_apply_to_gaussian_weights():
    method = methods.SSVI(16, density=0.5)
    network = method.prepare(layered(3))
    groups = method.parameter_groups(network, lr=0.1, weight_decay=0.3)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 0.3), (0.1, 0), (1.0, 0)]
    inside = [id(p) for group in groups for p in group["params"]]
    assert sorted(inside) == sorted(id(p) for p in network.parameters())
    before = [w.log_std.clone() for w in bayes.weights(network).values()]
    optimizer = torch.optim.AdamW(groups)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()
        method.after_step(network, optimizer)
    assert all(map(torch.equal, before, [w.log_std for w in bayes.weights(network).values()]))
    with pytest.warns(SzilardWarning, match="pulls every σ towards 1"):
        methods.SSVI(16).after_step(network, torch.optim.AdamW(network.parameters()))


@pytest.mark.parametrize("shape", [(16, 4), (16, 3, 5)])
def test_batchnorm_statistics_are_means_over_examples(shape):
    norm = nn.BatchNorm1d(shape[1])
    x = 3 * random(*shape) + 1
    sizes = [7, 6, 2, 1]  # the last batch is joined with the one before
    batches = [(part, part) for part in x.split(sizes)]
    assert bayes.reestimate_batchnorm(norm, batches) == 1
    axes = [0, *range(2, x.dim())]
    assert torch.allclose(norm.running_mean, x.mean(axes), atol=1e-5)
    parts = x.split([7, 6, 3])
    variance = sum(len(part) * part.var(axes) for part in parts) / 16
    assert torch.allclose(norm.running_var, variance, rtol=1e-4)


def failing():
    yield X, X
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("batches", "error", "words"),
    [
        (failing(), OSError, "disk"),
        (iter(()), SzilardError, "no batches"),
        ([(X[:1], X[:1])], SzilardError, "single example"),
        ([(X * torch.inf, X)], SzilardError, "NaN or infinite"),
    ],
)
def test_statistics_are_restored_if_finish_fails(batches, error, words):
    network = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    network(X)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(error, match=words):
        methods.Deterministic(16).finish(network, batches)
    assert network[0].momentum == 0.1
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
