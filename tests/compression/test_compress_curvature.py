"""Curvature against exact computations, and rounding by curvature against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from szilard.coding import Encoder, Model
from szilard.compression import curvatures, sequential_rounding
from szilard.compression.curvature import Curvature
from szilard.kernels import native


def call(network, x):
    return network(x)


def batches(*shape, n=4096, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(shape[0], shape[0], generator=generator) / shape[0] ** 0.5
    x = torch.randn(n, *shape, generator=generator)
    return list(torch.einsum("ij,nj...->ni...", mixing + torch.eye(shape[0]), x).split(512))


def predicted(curvature: Curvature, change):
    """½ Σ_r G_r Δ_r A Δ_rᵀ of a change ``[rows, cols]``."""
    change = change.double().reshape(len(curvature.inputs), -1, change[0].numel())
    quadratic = torch.einsum("grc,gcd,grd->gr", change, curvature.inputs, change).reshape(-1)
    return 0.5 * (curvature.outputs * quadratic).sum().item()


def loss_change(network, layer, change, inputs):
    """Half the squared change of the outputs, mean over examples."""
    x = torch.cat(inputs)
    with torch.no_grad():
        before = network(x)
        layer.weight += change.reshape(layer.weight.shape)
        after = network(x)
        layer.weight -= change.reshape(layer.weight.shape)
    return 0.5 * (after - before).square().flatten(1).sum(1).mean().item()


@pytest.mark.parametrize("bias", [True, False])
def test_curvature_of_a_linear_layer_under_squared_error_is_exact(bias):
    layer = nn.Linear(6, 1, bias=bias)
    network, inputs = nn.Sequential(layer), batches(6)
    found = curvatures(network, inputs, call)["0.weight"]
    x = torch.cat(inputs).double()
    torch.testing.assert_close(found.inputs[0], x.T @ x / len(x), rtol=1e-4, atol=1e-4)
    assert found.outputs.item() == pytest.approx(1, rel=0.1)  # noise of the sampled direction
    change = 0.1 * torch.randn(1, 6)
    assert predicted(found, change) == pytest.approx(loss_change(network, layer, change, inputs), rel=0.1)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 3, 3), nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), nn.Conv2d(4, 2, 2, dilation=2)],
)
def test_curvature_of_a_convolution_before_global_pooling(layer):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x).mean((2, 3))

    # Outputs of shape [B, C] would be treated as logits, so Unnamed adds a dimension: then the loss is squared error.
    network, inputs = Pooled(), batches(4, 8, 8, n=1024)
    wrapped = Unnamed(network)
    found = curvatures(wrapped, inputs, call)["network.layer.weight"]
    change = 0.1 * torch.randn(layer.weight.shape[0], layer.weight[0].numel())
    true = loss_change(wrapped, layer, change, inputs)
    assert predicted(found, change) == pytest.approx(true, rel=0.2)


class Unnamed(nn.Module):
    """Outputs ``[B, C, 1]``, which are not treated as logits."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[:, :, None]


def test_curvature_of_logits_predicts_the_kl_divergence():
    layer = nn.Linear(5, 4)
    network, inputs = nn.Sequential(layer), batches(5)
    found = curvatures(network, inputs, call, softness=1.0)["0.weight"]
    change = 0.02 * torch.randn(4, 5)
    x = torch.cat(inputs)
    with torch.no_grad():
        before = network(x).log_softmax(1)
        layer.weight += change
        after = network(x).log_softmax(1)
    true = F.kl_div(after, before, log_target=True, reduction="batchmean").item()
    # The factors A and G treat inputs and gradients as independent, and drop the off-diagonal part of G.
    assert 0.4 < predicted(found, change) / true < 2.5


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 3, 3, groups=1), nn.Linear(4, 3)])
def test_large_inputs_are_processed_in_parts(layer, monkeypatch):
    shape = (4, 6, 6) if isinstance(layer, nn.Conv2d) else (4,)
    network, inputs = nn.Sequential(layer, nn.Flatten()), batches(*shape, n=96)
    whole = curvatures(network, inputs, call)["0.weight"]
    monkeypatch.setattr("szilard.compression.hooked.AT_ONCE", 5 * 4 * 9 * 16)
    parts = curvatures(network, inputs, call)["0.weight"]
    torch.testing.assert_close(parts.inputs, whole.inputs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.outputs, whole.outputs)


def test_gradients_and_hooks_are_restored():
    network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    network[0].weight.requires_grad_(False)
    curvatures(network, batches(5, n=64), call)
    assert not network[0].weight.requires_grad
    assert network[2].weight.requires_grad
    assert all(p.grad is None for p in network.parameters())
    assert not network[0]._forward_hooks


def free_energy(weight, levels, step, inputs, outputs, lam):
    """F of a choice of levels: the quadratic loss, and λ times the exact rate of the adaptive coder."""
    change = weight.double() - torch.from_numpy(levels).double() * 2 ** (step / 16)
    bits = Encoder().rate(levels, Model.HISTORY)
    return predicted(Curvature(inputs, outputs, outputs), change) + lam * bits


@st.composite
def problems(draw):
    rows, cols = draw(st.integers(1, 12)), draw(st.integers(1, 90))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.randn(rows, cols, generator=generator)
    x = torch.randn(200, cols, generator=generator) + draw(st.sampled_from([0.0, 2.0]))
    inputs = (x.T @ x / len(x)).double()[None]
    return weight, inputs, torch.rand(rows, generator=generator).double() + 0.1


@settings(deadline=None, max_examples=40)
@given(problems(), st.sampled_from([1e-5, 1e-3, 1e-1]))
def test_rounding_by_curvature_and_rate_is_no_worse_than_rounding_to_nearest(problem, lam):
    weight, inputs, outputs = problem
    found = sequential_rounding.quantise(weight, inputs, outputs, lam)
    plain = sequential_rounding.nearest(weight, found.step)
    ours = free_energy(weight, found.levels, found.step, inputs, outputs, lam)
    theirs = free_energy(weight, plain.levels, found.step, inputs, outputs, lam)
    # Greedy choices with a coder that is still adapting are not optimal on the smallest matrices.
    assert ours <= 1.05 * theirs + 20 * lam


def test_rounding_is_near_the_best_of_all_choices():
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        weight = torch.randn(1, 6, generator=generator)
        x = torch.randn(50, 6, generator=generator) + 1
        inputs, outputs = (x.T @ x / 50).double()[None], torch.ones(1).double()
        found = sequential_rounding.quantise(weight, inputs, outputs, 1e-3, step=0)  # a step of 1
        ours = free_energy(weight, found.levels, 0, inputs, outputs, 1e-3)
        floors = weight[0].floor().int().tolist()
        choices = itertools.product(*[(f, f + 1) for f in floors])
        energies = [free_energy(weight, np.array([c], np.int32), 0, inputs, outputs, 1e-3) for c in choices]
        assert ours <= np.quantile(energies, 0.1)


def test_errors_are_compensated_in_later_columns():
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    same = torch.ones(1, 64, 64).double() + 1e-3 * torch.eye(
        64
    )  # all inputs are equal: only the sum of a row matters
    outputs = torch.ones(8).double()
    found = sequential_rounding.quantise(weight, same, outputs, 1e-9, step=0)
    wrong = (weight.double() - torch.from_numpy(found.levels)).sum(1).abs()
    assert wrong.max() < 0.6
    assert (weight.double() - weight.double().round()).sum(1).abs().mean() > wrong.mean()


def test_a_larger_lambda_gives_fewer_bits():
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    inputs, outputs = torch.ones(1, 60).double(), torch.ones(40).double()
    bits = [
        Encoder().rate(sequential_rounding.quantise(weight, inputs, outputs, lam).levels, Model.HISTORY)
        for lam in (1e-6, 1e-4, 1e-2, 1e-1)
    ]
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 0.5 * bits[-2]


def test_the_default_step_is_that_of_high_rate_theory():
    weight = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    lam, h = 1e-6, 0.37
    found = sequential_rounding.quantise(weight, torch.full((1, 200), 1.0), torch.full((200,), h), lam)
    wanted = (12 * lam / (h * np.log(2))) ** 0.5
    assert 2 ** (found.step / 16) == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 70), (5, 200)])
def test_shapes(shape):
    weight = torch.randn(shape)
    inputs = torch.eye(shape[1]).double()[None]
    found = sequential_rounding.quantise(weight, inputs, torch.ones(shape[0]), 1e-7)
    assert found.levels.shape == shape
    torch.testing.assert_close(found.dense(weight), weight, rtol=0, atol=1e-2)


def test_zero_weight_and_zero_curvature():
    found = sequential_rounding.quantise(torch.zeros(3, 4), torch.zeros(1, 4, 4), torch.zeros(3), 1e-6)
    assert not found.levels.any()


@pytest.mark.skipif(not native.available(), reason="no C++ library")
def test_the_fallback_without_the_library_is_nearly_as_good(monkeypatch):
    weight = torch.randn(30, 80, generator=torch.Generator().manual_seed(0))
    x = torch.randn(200, 80, generator=torch.Generator().manual_seed(1)) + 1
    inputs, outputs = (x.T @ x / 200).double()[None], torch.ones(30).double()
    fast = sequential_rounding.quantise(weight, inputs, outputs, 1e-3)
    monkeypatch.setattr(native, "available", lambda: False)
    slow = sequential_rounding.quantise(weight, inputs, outputs, 1e-3)
    assert slow.step == fast.step
    energies = [free_energy(weight, q.levels, q.step, inputs, outputs, 1e-3) for q in (fast, slow)]
    assert energies[0] <= energies[1] <= 1.3 * energies[0]
