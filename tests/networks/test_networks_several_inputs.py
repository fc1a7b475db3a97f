"""Networks with several input tensors are called as their forward expects."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from szilard import methods
from szilard.networks.takes import call

A, B = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.ones(8, 2)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, a, b=None, *, scale=1.0):
        return self.left(a) * scale + (0 if b is None else self.right(b))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.two = Two()

    def forward(self, batch):
        return self.two(*batch.values()) if isinstance(batch, dict) else self.two(*batch)


class Anything(Pair):
    def forward(self, *tensors):
        return self.two(*tensors)


@pytest.mark.parametrize("x", [(A, B), [A, B], {"a": A, "b": B}])
@pytest.mark.parametrize("kind", [Two, Pair, Anything])
def test_tuples_and_dicts_are_arguments_or_one_argument(kind, x):
    if kind is Anything and isinstance(x, dict):
        pytest.skip("its arguments have no names")
    network = kind()
    two = network if kind is Two else network.two
    assert torch.equal(call(network, x), two(A, B))


def test_a_method_trains_and_predicts_with_two_inputs():
    method = methods.make("mean-field", 8)
    network = method.prepare(Two(), "classification")
    y = torch.arange(8) % 4
    assert method.loss(network, (A, B), y).isfinite()
    assert method.loss(network, {"a": A, "b": B}, y).isfinite()
    assert method.predict(network, (A, B), samples=2).mean.shape == (8, 4)
