"""Without data, the mean and size of inputs are inferred from BatchNorms."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import szilard
from szilard.compression.imagined_inputs import imagine


def trained(network: nn.Module, size: torch.Tensor | float, centre: float) -> tuple[nn.Module, torch.Tensor]:
    """A network trained on four classes of raw inputs, and these inputs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1500, 8, generator=generator)
    y = (x @ torch.randn(8, 4, generator=generator)).argmax(1)
    raw = x * size + centre
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(80):
        nn.functional.cross_entropy(network(raw), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return network.eval(), raw


UNITS = 10.0 ** torch.linspace(-3, 5, 8)


@pytest.mark.parametrize(
    ("size", "centre"),
    [(1.0, 0.0), (10.0, 30.0), (UNITS, 0.0)],
    ids=["standardised", "shifted", "different units"],
)
def test_imagined_inputs_match_a_batchnorm_on_the_inputs(size, centre):
    network = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 4))
    network, raw = trained(network, size, centre)
    found = imagine(network, (8,))
    sizes = (network[0].running_var + network[0].eps).sqrt()
    assert ((found.mean(0) - network[0].running_mean) / sizes).abs().max() < 0.5
    assert torch.allclose(found.std(0), sizes, rtol=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = szilard.compress(network, progress=False)
    with torch.no_grad():
        same = (small.network(raw).argmax(1) == network(raw).argmax(1)).double().mean()
    assert float(same) > 0.8


def test_a_common_size_is_inferred_from_a_batchnorm_after_the_first_layer():
    network = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 4))
    network, _ = trained(network, 200.0, 100.0)
    found = imagine(network, (8,))
    assert 30 < float(found.std()) < 3000
    usual = nn.Sequential(nn.Linear(8, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 4))
    usual, _ = trained(usual, 1.0, 0.0)
    assert 0.2 < float(imagine(usual, (8,)).std()) < 5
