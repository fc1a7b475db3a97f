"""Without data, the sizes of inputs are inferred from a BatchNorm after the first layer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard.compression.norm_units import norms_behind, sizes_by_norm
from szilard.compression.raw_units import raw_units
from szilard.errors import SzilardWarning


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 8), st.integers(0, 1000), st.integers(2, 9))
def test_input_sizes_are_recovered_from_variances(decades, seed, cols):
    generator = torch.Generator().manual_seed(seed)
    size = 10.0 ** (decades * torch.rand(cols, generator=generator, dtype=torch.float64))
    weight = torch.randn(6 * cols, cols, generator=generator, dtype=torch.float64) / size
    found = sizes_by_norm(weight, (weight * size).square().sum(1))
    if found is not None:  # None if all columns have one size
        assert torch.allclose(found.log(), size.log(), atol=0.2)


def test_an_invisible_input_gets_the_largest_size_that_would_stay_invisible():
    weight = torch.randn(32, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = (weight * torch.tensor([1e-9, 1.0, 30.0])).square().sum(1)
    found = sizes_by_norm(weight, seen)
    most = (
        float((seen / weight[:, 0].square()).min()) ** 0.5
    )  # a larger size would exceed the smallest variance
    assert 0.0999 * most < float(found[0]) < most
    assert float(found[2]) == pytest.approx(30, rel=0.01)


def test_too_few_or_invalid_variances_give_none():
    assert sizes_by_norm(torch.randn(3, 4), torch.ones(3)) is None
    assert sizes_by_norm(torch.randn(8, 4), torch.zeros(8)) is None
    assert sizes_by_norm(torch.randn(8, 4), torch.full((8,), torch.inf)) is None


def made(folded):
    torch.manual_seed(0)
    size = 10.0 ** torch.linspace(-3, 6, 8)
    network = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 3))
    x = torch.randn(1000, 8) * size
    with torch.no_grad():
        network[0].weight.normal_()
        network[3].weight *= 8
        if folded:
            network[0].weight /= size
        y = network[0](x)
        network[1].running_mean.copy_(y.mean(0))
        network[1].running_var.copy_(y.var(0))
    return network.eval(), x


@pytest.mark.parametrize("folded", [True, False])
def test_raw_features_without_data(folded):
    network, x = made(folded)
    with pytest.warns(SzilardWarning, match="inputs of layer 0 were assumed to be in raw units"):
        small = szilard.compress(network, progress=False).network
    with torch.no_grad():
        before, after = network(x), small(x)
    assert float((after - before).norm() / (before - before.mean(0)).norm()) < 0.2
    assert bool((small[0].weight.norm(dim=0) > 0).all())


def test_only_a_norm_directly_after_a_layer_is_used():
    network, x = made(True)
    assert set(norms_behind(network, x)) == {"0"}
    assert norms_behind(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.BatchNorm1d(4)).eval(), x) == {}


def test_standardised_inputs_have_no_raw_units():
    network, _ = made(True)
    with torch.no_grad():
        network[0].weight.normal_()
        y = network[0](torch.randn(1000, 8))
        network[1].running_mean.copy_(y.mean(0))
        network[1].running_var.copy_(y.var(0))
    assert not raw_units(network)
