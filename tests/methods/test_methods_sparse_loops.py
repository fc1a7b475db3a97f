"""Sparse methods in a user's own loop: loss scaling, accumulated batches and weights that two layers share."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from szilard import methods, networks
from szilard.bayes.network_weights import weights

RULES = ("set", "rigl", "srigl", "granet", "ssvi", "snfs", "topkast", "acdc", "free-tickets")


def _batch(seed, rows=32):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 12, generator=generator)
    return x, (x[:, :3].argmax(1))


def _made(name, network, **options):
    options = {"every": 2, "total_steps": 40, "density": 0.3, "seed": 1, "lr": 0.01} | options
    options = {key: value for key, value in options.items() if key in methods.options(name)}
    method = methods.make(name, 320, **options)
    prepared = method.prepare(network).train()
    return method, prepared, method.optimizer(prepared)


def _network():
    return networks.build("mlp:16", (12,), 3, seed=0)


def _masks(network):
    return {name: weight.support.mask() for name, weight in weights(network).items()}


def _scaled_loop(name, scale, steps=12, broken=()):
    """Masks after a loop with a loss scale; the gradients of ``broken`` steps overflow."""
    method, network, optimizer = _made(name, _network(), optimizer="sgd")
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    for step in range(steps):
        x, y = _batch(step)
        loss = method.loss(network, x, y)
        if step in broken:
            loss = loss * torch.tensor(float("inf"))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    return _masks(network), network


@pytest.mark.parametrize("name", RULES)
def test_a_loss_scale_changes_no_move(name):
    plain, _ = _scaled_loop(name, 1.0)
    scaled, _ = _scaled_loop(name, 2.0**10)  # a power of two: the same bits
    assert all(torch.equal(plain[key], scaled[key]) for key in plain)


@pytest.mark.parametrize("name", RULES)
def test_steps_that_overflow(name):
    """Growth ignores their gradients: the number of entries stays exact, and weights stay finite."""
    masks, network = _scaled_loop(name, 2.0**10, broken=range(1, 12, 2))  # of each batch before a move
    whole, _ = _scaled_loop(name, 2.0**10)
    assert sum(int(mask.sum()) for mask in masks.values()) == sum(int(mask.sum()) for mask in whole.values())
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())


def test_without_a_finite_gradient_nothing_moves():
    before = _masks(_made("rigl", _network())[1])
    after, _ = _scaled_loop("rigl", 1.0, broken=range(12))
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["rigl", "granet"])
def test_gradients_in_half_precision(name):
    """Sums of many float16 products are beyond float16; the scores of growth are not computed in it."""
    method, network, optimizer = _made(name, _network(), optimizer="sgd")
    for step in range(8):
        x, y = _batch(step, rows=256)
        with torch.autocast("cpu", torch.float16):
            loss = method.loss(network, 30 * x, y)
        (loss * 2.0**12).backward()
        for p in network.parameters():
            if p.grad is not None:
                p.grad /= 2.0**12
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())


@pytest.mark.parametrize("name", ["set", "rigl", "granet", "snfs", "topkast", "acdc", "free-tickets"])
def test_accumulated_batches_move_once_a_step(name):
    """Two halves of a batch, accumulated, move the entries that the whole batch moves."""

    def run(parts):
        method, network, optimizer = _made(name, _network(), optimizer="sgd", growth_batches=1)
        for step in range(9):
            x, y = _batch(step)
            for half_x, half_y in zip(x.chunk(parts), y.chunk(parts), strict=True):
                (method.loss(network, half_x, half_y) / parts).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
        return _masks(network)

    whole, halves = run(1), run(2)
    assert all(torch.equal(whole[key], halves[key]) for key in whole)


class Shared(nn.Module):
    """A layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.twice, self.out = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.into(x))
        return self.out(F.relu(self.twice(F.relu(self.twice(h)))))


@pytest.mark.parametrize("name", RULES[:-1])  # an ensemble has several networks
def test_a_layer_that_is_used_twice_has_one_support(name):
    method, network, optimizer = _made(name, Shared(), optimizer="sgd")
    for step in range(8):
        x, y = _batch(step)
        method.loss(network, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(network, optimizer)
    assert len(weights(network)) == 3
    for weight in weights(network).values():
        assert weight.mean.numel() == weight.support.nnz
        assert bool(torch.isfinite(weight.mean).all())


def test_growth_of_a_layer_that_is_used_twice_sums_both_gradients():
    method, network, _ = _made("rigl", Shared(), growth_batches=1)
    method.step = 1  # the batch before a move
    x, y = _batch(0)
    method.loss(network, x, y).backward()
    weight = network.twice.weight
    dense = {name: w.support.scatter(w.mean.detach()) for name, w in weights(network).items()}
    plain = Shared()
    with torch.no_grad():
        for name, layer in (("into", plain.into), ("twice", plain.twice), ("out", plain.out)):
            layer.weight.copy_(dense[name])
            layer.bias.copy_(network.get_submodule(name).bias.detach())
    F.cross_entropy(plain(x), y).backward()
    found = torch.cat([block for _, block in weight.growth.stream(16, 16, x.device)])
    assert torch.allclose(found, plain.twice.weight.grad, atol=1e-6)
