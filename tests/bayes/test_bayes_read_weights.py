"""Weights that the user's code reads or writes, and parts of a network that are called alone."""

from __future__ import annotations

import pytest
import torch
from plain_loop import mlp
from torch import nn
from torch.nn import functional as F

import szilard
from szilard import SzilardError, SzilardWarning


class Weights(nn.Module):
    """A weight that is also kept in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)
        self.kept = [self.a.weight]

    def forward(self, x):
        return self.b(torch.relu(self.a(x))) + 0 * self.kept[0].sum()


def test_a_weight_in_a_list_stays_dense_and_is_named():
    with pytest.warns(
        SzilardWarning, match=r"a\.weight \(used in two places\) stays dense and without uncert"
    ):
        network = szilard.bayesianize(Weights(), 0.5)
    assert network.kept[0] is network.a.weight
    with pytest.warns(SzilardWarning, match=r"a\.weight \(used in two places\) stays dense, 96 of"):
        szilard.bayesianize(Weights(), 0.5, point=True)


class ReadsWeights(nn.Module):
    """Reads the weight of the first layer instead of calling it; both calls the second layer and reads its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 16)

    def forward(self, x):
        h = torch.relu(x @ self.a.weight.T + self.a.bias)
        return self.b(h)[:, :4] + (h @ self.b.weight.t())[:, 4:8]


def test_the_growth_gradient_of_weights_that_are_read_is_the_dense_gradient():
    torch.manual_seed(0)
    network = szilard.bayesianize(ReadsWeights(), 0.3, point=True)
    weights = szilard.bayes.weights(network)
    x, y = torch.randn(32, 6), torch.randint(0, 4, (32,))
    dense = {name: weight.dense_mean().requires_grad_() for name, weight in weights.items()}
    a, b = dense["a"], dense["b"]
    h = torch.relu(x @ a.T + network.a.bias.detach())
    z = (h @ b.T + network.b.bias.detach())[:, :4] + (h @ b.T)[:, 4:8]
    F.cross_entropy(z, y).backward()
    for held in szilard.bayes.every_weight(network):
        support = held.weight.support
        held.weight.growth = szilard.sparse.GrowthGradient(held.rows_gradient, support.rows * support.cols)
    F.cross_entropy(network(x), y).backward()
    for name, weight in weights.items():
        found = torch.cat([part for _, part in weight.growth.stream(*dense[name].shape, torch.device("cpu"))])
        assert torch.allclose(found, dense[name].grad, atol=1e-6), name


def test_requires_grad_of_a_weight_can_be_set():
    network = szilard.bayesianize(mlp(), 0.5)
    weight = network[0].weight
    weight.requires_grad = False
    assert not weight.mean.requires_grad
    assert not weight.log_std.requires_grad
    assert not weight.requires_grad
    weight.requires_grad = True
    assert weight.mean.requires_grad
    assert len(weight) == 24


def test_attention_whose_weights_are_read():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            one = self.attention
            q, k, v = F.linear(x, one.in_proj_weight, one.in_proj_bias).chunk(3, -1)
            return one.out_proj(F.scaled_dot_product_attention(q, k, v))

    torch.manual_seed(0)
    original = Own().eval()
    nn.init.normal_(original.attention.in_proj_bias)
    network = szilard.bayesianize(original).eval()
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-5)


@pytest.mark.parametrize(
    "write",
    [
        nn.init.xavier_uniform_,
        lambda weight: weight.mul_(2),
        lambda weight: weight.copy_(torch.ones(24, 6)),
        lambda weight: torch.clamp_(weight, -1, 1),
    ],
)
def test_writing_into_a_weight_is_refused(write):
    network = szilard.bayesianize(mlp(), 0.5)
    with torch.no_grad(), pytest.raises(SzilardError, match="would write into"):
        write(network[0].weight)
    assert float(torch.norm(network[0].weight)) > 0
    assert network[0].weight.abs().sum() > 0


@pytest.mark.parametrize("density", [1.0, 0.3])
def test_parts_of_a_sequential_compute_the_same_as_before(density):
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    network = szilard.bayesianize(original, density, point=density < 1)
    if density < 1:
        original = szilard.bayes.point_network(network)
    x = torch.randn(4, 6)
    with torch.no_grad(), szilard.bayes.mode(network, "mean"):
        assert torch.allclose(network[0](x), original[0](x), atol=1e-6)
        assert torch.allclose(network[:2](x), original[:2](x), atol=1e-6)
        assert torch.allclose(network(x), original(x), atol=1e-6)
        seen = []
        network[0].register_forward_hook(lambda module, given, output: seen.append(output))
        network(x)
        assert torch.allclose(seen[0], original[0](x), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "dense"),
    [
        ({"except_": "*.out_proj"}, "attention.out_proj.weight"),
        ({"except_": "*.in_proj_weight"}, "attention.in_proj_weight"),
        ({"skip": ["attention.out_proj"]}, "attention.out_proj.weight"),
    ],
)
def test_a_part_of_an_attention_may_be_left_out(options, dense):
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x)[0].mean(1))

    torch.manual_seed(0)
    original = Attending().eval()
    network = szilard.bayesianize(original, 1.0, **options).eval()
    assert dense in dict(network.named_parameters())
    assert len(szilard.bayes.weights(network)) == 2
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-5)
