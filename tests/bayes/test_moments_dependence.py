"""Products and sums of a Gaussian tensor with itself, its views and its elementwise functions, against draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import bayes
from szilard.bayes.moments.dependence import shared
from szilard.bayes.moments.value import GaussianTensor
from szilard.deploy.graph import MomentsGraph
from szilard.deploy.uncertainty import OfClasses

DRAWS = 40_000
MEAN = torch.tensor([[0.3, -1.2, 0.9, 0.1], [1.5, 0.0, -0.4, 0.7], [-0.8, 0.5, 2.0, -0.1]])
STD = torch.tensor([[0.5, 1.0, 0.3, 0.8], [0.9, 0.6, 0.4, 1.1], [0.7, 1.0, 0.2, 0.5]])
SHIFT = torch.tensor([0.5, -1.0, 2.0, 0.1])


def gaussians() -> GaussianTensor:
    return GaussianTensor(MEAN.clone(), STD.square())


def in_place(x):
    y = x * 1
    y *= x
    return y


FUNCTIONS = {
    "square": lambda x: x * x,
    "square in place": in_place,
    "a view": lambda x: x * x.reshape(-1).view(3, 4),
    "a copy": lambda x: x.clone() * x,
    "a detached view": lambda x: x * x.detach(),
    "the first column": lambda x: x * x[:, :1],
    "the last row": lambda x: x[2] * x,
    "overlapping columns": lambda x: x[:, 1:] * x[:, :-1],
    "a transposed part": lambda x: x[:, :3].T * x[:, :3],
    "a sum with a column": lambda x: x + x[:, :1],
    "a difference from a view": lambda x: 2 * x - x.view(3, 4),
    "a cube": lambda x: x * x * x,
    "swish": lambda x: x * torch.sigmoid(x),
    "swish of shifted": lambda x: (x + SHIFT) * torch.sigmoid(x + SHIFT),
    "swish with a slope": lambda x: x * torch.sigmoid(1.5 * x),
    "swish of views": lambda x: torch.sigmoid(x).view(4, 3) * x.view(4, 3),
    "swish beside a column": lambda x: x * torch.sigmoid(x)[:, :1],
    "hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu by tanh": lambda x: 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * x * x * x))),
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "squared relu": lambda x: torch.relu(x) * torch.relu(x),
    "a scaled branch": lambda x: (x * SHIFT) * torch.sigmoid(x),
    "addcmul": lambda x: torch.addcmul(x, x, torch.tanh(x)),
    "a shortcut": lambda x: x + torch.tanh(x),
    "sine times cosine": lambda x: torch.sin(x) * torch.cos(x),
    "negative": lambda x: -x * (0.3 * x).exp(),
    "halves that do not overlap": lambda x: x[:, :2] * torch.sigmoid(x[:, 2:]),
}


@pytest.fixture(scope="module")
def draws():
    noise = torch.randn(DRAWS // 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return MEAN + STD * torch.cat([noise, -noise])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_variable(draws, name):
    function = FUNCTIONS[name]
    found = function(gaussians()).moments
    wanted = torch.stack([function(x) for x in draws[:2]]) if name == "the last row" else None
    values = torch.func.vmap(function)(draws) if name != "square in place" else draws.square()
    assert wanted is None or torch.allclose(values[:2], wanted)
    scale = values.std(0)
    assert float(((found.mean - values.mean(0)).abs() / scale).max()) < 0.03
    ratio = found.variance.sqrt() / scale
    assert float((ratio - 1).abs().max()) < 0.06


def test_a_square_is_exact():
    mean, variance = MEAN, STD.square()
    for value in (gaussians() * gaussians().clone(),):
        assert not torch.allclose(value.moments.mean, mean.square() + variance)  # two tensors are independent
    x = gaussians()
    for value in (x * x, x * x.view(3, 4), x * x.clone(), x.square(), x**2):
        torch.testing.assert_close(value.moments.mean, mean.square() + variance)
        torch.testing.assert_close(
            value.moments.variance, 2 * variance.square() + 4 * mean.square() * variance
        )
    nothing = x - x.view(3, 4)
    assert not nothing.moments.mean.any()
    assert not nothing.moments.variance.any()


def test_which_entries_are_shared():
    x = gaussians()
    assert shared(x.origins[0], x.view(3, 4).origins[0]) is True
    assert shared(x[:, :2].origins[0], x[:, 2:].origins[0]) is False
    assert shared(x.origins[0], gaussians().origins[0]) is False
    assert shared(x.origins[0], x[:, :1].origins[0]).tolist() == [True, False, False, False]
    assert shared(x[:, :3].origins[0], x[:, :3].T.origins[0]).tolist() == torch.eye(3).bool().tolist()


def test_a_gate_that_depends_on_all_pixels_is_nearly_independent():
    """Squeeze and excitation (Hu, Shen and Sun 2018): a pixel adds little to the mean of its channel."""
    torch.manual_seed(0)

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)

        def forward(self, x):
            return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))[:, :, None, None]

    network = Gate().eval()
    mean = torch.randn(1, 8, 4, 4)
    found = bayes.propagate(network, GaussianTensor(mean, torch.ones_like(mean)))
    with torch.no_grad():
        values = network(mean + torch.randn(10_000, 8, 4, 4))
    assert float(((found.mean - values.mean(0)).abs() / values.std(0)).max()) < 0.06
    assert float((found.variance.sqrt() / values.std(0) - 1).abs().max()) < 0.05


class Own(nn.Module):
    """A layer and a function behind it."""

    def __init__(self, function, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.function = nn.Linear(3, 4), nn.Linear(width, 2), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def test_a_graph_for_any_batch():
    def function(x):
        halves = (x * x[:, :1]) * torch.sigmoid(x)
        return halves[:, :2] * torch.sigmoid(halves[:, 2:])

    network = szilard.bayesianize(Own(function, 2), density=1.0).eval()
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    wanted = bayes.propagate(network, x)
    graph = MomentsGraph(network, OfClasses(2)).eval()
    exported = torch.export.export(
        graph, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=64)},)
    )
    *_, mean, variance = exported.module()(x[:3])
    torch.testing.assert_close(mean, wanted.mean[:3], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(variance, wanted.variance[:3], rtol=1e-4, atol=1e-7)
