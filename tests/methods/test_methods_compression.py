"""Training methods for compression: removed groups, shrinking, precision."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import digits

import szilard
from szilard import bayes, data, methods
from szilard.bayes.groups import Horseshoe, NormalJeffreys, ScaledLayer, scales
from szilard.bayes.noise import Noise
from szilard.compression import (
    Quantise,
    QuantiseVectors,
    free_energy_step,
    posterior_curvature,
    published_bits,
    shrink,
)
from szilard.errors import SzilardError, SzilardWarning


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# -- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [NormalJeffreys, Horseshoe])
@pytest.mark.parametrize(
    ("plain", "shape"),
    [(nn.Linear(5, 4), (5,)), (nn.Conv2d(3, 4, 3, padding=1), (3, 6, 6)), (nn.Conv1d(3, 4, 3), (3, 7))],
)
def test_a_scaled_layer_is_one_with_scaled_weights(kind, plain, shape):
    layer = bayes.bayesianize(plain)
    groups = 5 if isinstance(plain, nn.Linear) else 4
    scaled = ScaledLayer(layer, kind(groups, Noise(), seeded())).eval()
    x = torch.randn(6, *shape, generator=seeded())
    ordinary = copy.deepcopy(plain)
    with torch.no_grad():
        ordinary.weight.copy_(scaled.dense_mean())
        torch.testing.assert_close(scaled(x), ordinary(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            bayes.point_network(nn.Sequential(scaled))(x), ordinary(x), rtol=1e-4, atol=1e-5
        )
        with bayes.drawn(scaled, 3):
            first = scaled(x)
            assert torch.equal(first, scaled(x))  # the same draw in every call
        with bayes.drawn(scaled, 4):
            assert not torch.allclose(first, scaled(x))
        draws = torch.stack([scaled.train()(x) for _ in range(800)])
    torch.testing.assert_close(draws.mean(0), ordinary(x), rtol=0.1, atol=0.1)


def test_dropped_groups_are_zero_and_one_always_stays():
    scale = NormalJeffreys(4, Noise(), seeded())
    with torch.no_grad():
        scale.mean.copy_(torch.tensor([1.0, 1e-3, 0.5, 1e-4]))
    assert scale.drop(0.0) == 2
    assert (scale.mean_scale() != 0).tolist() == [True, False, True, False]
    assert (scale.train()(7) != 0).any(0).tolist() == [True, False, True, False]
    again = NormalJeffreys(4, Noise(), seeded(1))
    again.load_state_dict(scale.state_dict())
    assert torch.equal(again.mean_scale(), scale.mean_scale())
    assert scale.drop(-1e9) == 3


def test_point_networks_of_every_layer():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect"), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    stochastic = bayes.bayesianize(network, density=0.4).eval()
    x = torch.randn(3, 2, 4, 4, generator=seeded())
    plain = bayes.point_network(stochastic)
    assert not bayes.bayes_layers(plain)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), stochastic(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(SzilardError, match="attention"):
        bayes.point_network(bayes.bayesianize(nn.MultiheadAttention(4, 2)))


# -- methods --------------------------------------------------------------------------------------


def trained(method, network, epochs=25):
    split = digits().train
    method.total_steps = epochs * math.ceil(len(split) / 64)
    network = method.prepare(network)
    optimizer = method.optimizer(network)
    for epoch in range(epochs):
        for x, y in data.batches(split, 64, seed=0, epoch=epoch):
            method.anneal(optimizer)
            method.loss(network, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    method.finish(network, [(split.x, split.y)], digits().valid)
    return network.eval()


def network():
    return szilard.networks.build("mlp:60", (1, 8, 8), 10)


def accuracy(network):
    with torch.no_grad():
        return float((network(digits().test.x).argmax(1) == digits().test.y).float().mean())


def test_variational_dropout_removes_weights():
    method = methods.VariationalDropout(len(digits().train), lr=5e-3)
    plain = bayes.point_network(trained(method, network()))
    alive = sum(int(p.count_nonzero()) for p in plain.parameters() if p.dim() == 2)
    assert alive < 0.5 * (64 * 60 + 60 * 10)
    assert accuracy(plain) > 0.93


@pytest.mark.parametrize("prior", ["normal-jeffreys", "horseshoe"])
def test_bayesian_compression_removes_units(prior):
    method = methods.BayesianCompression(len(digits().train), prior=prior, lr=5e-3)
    stochastic = trained(method, network())
    assert sum(int((~scale.alive).sum()) for scale in scales(stochastic)) > 8
    plain = bayes.point_network(stochastic)
    assert accuracy(plain) > 0.9
    small = shrink(plain)
    assert sum(p.numel() for p in small.parameters()) < 0.9 * sum(p.numel() for p in plain.parameters())
    with torch.no_grad():
        torch.testing.assert_close(small(digits().test.x), plain(digits().test.x), rtol=1e-3, atol=1e-3)
    quantise = Quantise()
    made = szilard.compress(
        small, digits().train.x[:256], lam=1e-5, passes=[quantise, QuantiseVectors(quantise)]
    )
    assert made.ratio > 10
    assert accuracy(made.network) > 0.88


def test_options_of_bayesian_compression():
    with pytest.raises(SzilardError, match="choose normal-jeffreys or horseshoe"):
        methods.make("bayesian-compression", 10, prior="spike")
    with pytest.raises(SzilardError, match="tau must be positive"):
        methods.make("bayesian-compression", 10, tau=0.0)


# -- shrinking ------------------------------------------------------------------------------------


def with_dead_units(network):
    """Set every second unit of every hidden layer to zero; BatchNorm offsets are not zero."""
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for layer in layers[:-1]:
            layer.weight[::2] = 0
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.copy_(torch.randn(tensor.shape, generator=seeded()))
    return network.eval()


@pytest.mark.parametrize(
    ("network", "shape", "left"),
    [
        (nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2)), (5,), [4, 3, 2]),
        (nn.Sequential(nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2)), (5,), [4, 2]),
        (
            nn.Sequential(
                nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
                nn.Flatten(), nn.Linear(6 * 4, 8), nn.ReLU(), nn.Linear(8, 3),
            ),
            (1, 10, 10),
            [2, 3, 4, 3],
        ),
        # With zero padding a constant input is not constant at the border: such units stay, unless they are zero.
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3, padding=1)), (1, 6, 6), [4, 2]),
        (nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)), (1, 6, 6), [2, 2]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::szilard.errors.SzilardWarning")
def test_a_shrunk_network_computes_the_same(network, shape, left):
    network = with_dead_units(copy.deepcopy(network))
    x = torch.randn(4, *shape, generator=seeded())
    small = shrink(network, x)
    layers = [module for module in small.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert [len(layer.weight) for layer in layers] == left
    with torch.no_grad():
        torch.testing.assert_close(small(x), network(x), rtol=1e-4, atol=1e-5)


def test_unused_units_and_units_used_only_by_them_are_removed():
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        network[4].weight[:, :3] = 0  # three units of the middle layer are unused
        network[2].weight[3:, :4] = 0  # four units of the first layer are used only by those
    small = shrink(network)
    assert (small[0].out_features, small[2].out_features) == (2, 2)
    x = torch.randn(5, 4, generator=seeded())
    with torch.no_grad():
        torch.testing.assert_close(small(x), network(x))


class Shortcut(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(self.a(x))
        return self.c(x + F.relu(self.b(x)))


def test_layers_with_shortcuts_are_not_shrunk():
    with pytest.warns(SzilardWarning, match="no unit"):
        small = shrink(with_dead_units(Shortcut()))
    assert small.a.out_features == small.b.out_features == 4


def test_a_network_without_a_static_graph_is_warned_about():
    class Dynamic(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.warns(SzilardWarning, match="no static graph"):
        shrink(Dynamic())


# -- precision ------------------------------------------------------------------------------------


def test_published_bits():
    # Twice 2^-9 is 2^-8: smaller than 2^-1 ... 2^-7, so 7 bits; the exponent of 1.5 takes ceil(log2(2 + 1)) = 2.
    assert published_bits(torch.full((5,), 2.0**-9), 1.5) == 1 + 7 + 2
    assert published_bits(torch.full((5,), 10.0), 0.3) == 1


def test_the_step_of_free_energy():
    std = torch.tensor([0.01, 0.04])
    assert 2 ** (free_energy_step(std) / 16) == pytest.approx(12**0.5 * 0.02, rel=0.03)


def test_a_posterior_as_a_curvature():
    rows, cols = torch.tensor([1.0, 4.0]), torch.tensor([1.0, 9.0, 16.0])
    precision = rows[:, None] * cols
    found = posterior_curvature(precision.rsqrt(), n_data=100, temperature=2.0)
    torch.testing.assert_close(
        found.outputs[:, None] * found.inputs[0], 2 / 100 * precision.double(), rtol=1e-5, atol=0
    )
