"""Errors that the positions of a map share: known answers, draws, and what ends them."""

from __future__ import annotations

import gc

import pytest
import torch
from averaged_networks import Blocks, bayesian, norm, several_ways
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from szilard import bayes
from szilard.bayes import GaussianTensor, propagate
from szilard.bayes.moments import positions
from szilard.bayes.moments.value import split


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def constant_maps(batch, channels, size, seed=0):
    """Every position of a channel has the same number, so that what positions have in common is everything."""
    return random(batch, channels, 1, 1, seed=seed).expand(batch, channels, size, size).contiguous().double()


def only_first_random(network):
    """All layers but the first convolution become points: the outputs are linear in what is random."""
    network = bayes.bayesianize(network.double(), dense_stem=False, initial_std=0.3).eval()
    for weight in list(bayes.weights(network).values())[1:]:
        weight.log_std = None
    return network


class Ways(nn.Module):
    """Linear functions of maps that treat all positions alike."""

    def __init__(self, end):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 1), norm(8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.last, self.out = nn.Conv2d(14, 5, 1, bias=False), nn.Linear(5, 2)
        self.end = end

    def forward(self, x):
        x = self.norm(self.first(x))
        y = F.avg_pool2d(self.grouped(x), 2)
        shortcut = F.pad(x[:, 1:7, ::2, ::2], (0, 0, 0, 0, 1, 1))
        y = torch.cat((-y + shortcut * 2, y[:, 2:].clone()), 1)
        return self.out(self.end(self.last(y)))


def exact(network, x):
    """The variance of outputs that are linear in the weights."""
    output = network(x)
    gaussian = [weight for weight in bayes.weights(network).values() if weight.log_std is not None]
    found = torch.zeros_like(output)
    for place in torch.cartesian_prod(*map(torch.arange, output.shape)):
        gradients = torch.autograd.grad(output[tuple(place)], [w.mean for w in gaussian], retain_graph=True)
        found[tuple(place)] = sum(
            (g * w.std).square().sum() for g, w in zip(gradients, gaussian, strict=True)
        )
    return output.detach(), found.detach()


ENDS = {
    "mean": lambda x: x.mean((2, 3)),
    "kept": lambda x: x.mean((-1, -2), keepdim=True)[:, :, 0, 0],
    "one by one": lambda x: x.mean(3).mean(2),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "pool": lambda x: F.avg_pool2d(x, 4).view(len(x), -1),
    "sum": lambda x: x.sum((2, 3)) / 16,
    "flat": lambda x: x.flatten(2).mean(2),
}


@pytest.mark.parametrize("end", ENDS)
def test_linear_networks_of_constant_maps_are_exact(end):
    network, x = only_first_random(Ways(ENDS[end])), constant_maps(4, 3, 8)
    for found, wanted in zip(propagate(network, x), exact(network, x), strict=True):
        torch.testing.assert_close(found, wanted)


@given(
    kernel=st.integers(1, 3), stride=st.integers(1, 2), padding=st.integers(0, 2), dilation=st.integers(1, 2),
    size=st.integers(5, 7), density=st.sampled_from([1.0, 0.5]), seed=st.integers(0, 99),
)  # fmt: skip
def test_one_convolution_of_constant_maps_is_exact(kernel, stride, padding, dilation, size, density, seed):
    """Shares of a window that lie on the border count as they should, for dense and sparse weights."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(2, 3, kernel, stride, padding, dilation), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).double()
    network = bayes.bayesianize(network, density=density, dense_stem=False).eval()
    x = constant_maps(2, 2, size, seed)
    torch.testing.assert_close(propagate(network, x).variance, exact(network, x)[1])


def independent(network, x):
    """The variance of outputs if positions were independent."""
    with bayes.mode(network, "moments"), torch.no_grad():
        return network(x).independent.variance


def drawn_variance(network, x, draws=150):
    outputs = []
    with torch.no_grad():
        for number in range(draws):
            with bayes.drawn(network, 1, number):
                outputs.append(network(x))
    return torch.stack(outputs).var(0)


def ratio(found, wanted):
    return float((found / wanted).log().mean().div(2).exp())


@pytest.mark.parametrize("density", [1.0, 0.4])
@pytest.mark.parametrize("make", [lambda: Blocks(0), lambda: several_ways()[:-1]])
def test_pooled_features_have_the_deviations_of_draws(make, density):
    torch.manual_seed(0)
    network, x = bayesian(make(), density), 1 + random(8, 2, 20, 20)
    wanted = drawn_variance(network, x)
    used = wanted > 1e-3 * wanted.mean()
    assert 0.75 < ratio(propagate(network, x).variance[used], wanted[used]) < 1.2
    assert ratio(independent(network, x)[used], wanted[used]) < 0.5


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_behind_an_average_have_the_deviations_of_draws(layers):
    torch.manual_seed(0)
    network, x = bayesian(Blocks(layers)), 1 + random(12, 2, 12, 12)
    assert 0.8 < ratio(propagate(network, x).variance, drawn_variance(network, x)) < 1.2


def test_the_comparison_with_draws_shows_pooled_features():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 8, 3, padding=1), norm(8), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()]
    network = bayesian(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)))
    x = random(10, 2, 10, 10)
    found = {one.name: one for one in bayes.check(network, x, draws=120).layers}
    assert 0.8 < found["5"].sd_ratio < 1.15
    assert 0.8 < found["7"].sd_ratio < 1.15
    factors = bayes.fit_factors(network, x, draws=120)
    fitted = bayes.check(network, x, draws=120, seed=3, factors=factors).output
    assert 0.85 < fitted.sd_ratio < 1.15


def test_reading_a_layer_changes_nothing():
    torch.manual_seed(0)
    network, x = bayesian(Blocks()), random(3, 2, 8, 8)
    plain = propagate(network, x)
    handles = [
        module.register_forward_hook(
            lambda m, i, o: None if not isinstance(o, GaussianTensor) else o.moments and None
        )
        for module in network.modules()
    ]
    watched = propagate(network, x)
    for handle in handles:
        handle.remove()
    assert torch.equal(plain.variance, watched.variance)


def test_examples_do_not_depend_on_each_other_and_rows_can_be_divided(monkeypatch):
    torch.manual_seed(0)
    network, x = bayesian(Blocks(2)), random(5, 2, 8, 8)
    whole = propagate(network, x).variance
    torch.testing.assert_close(propagate(network, x[2:3]).variance, whole[2:3])
    monkeypatch.setattr(positions, "_AT_ONCE", 1)
    torch.testing.assert_close(propagate(network, x).variance, whole)


def test_contributions_can_be_joined_or_not(monkeypatch):
    torch.manual_seed(0)
    network, x = bayesian(Blocks(2)), random(5, 2, 8, 8)
    whole = propagate(network, x).variance
    monkeypatch.setattr(positions, "_JOINED", 1)
    apart = propagate(network, x).variance
    torch.testing.assert_close(apart, whole)
    rows, noise = random(1, 3, 4), random(4).square()
    more, moved = random(5, 3, 4), random(5, 4).square()
    for joined in (1, 100):
        monkeypatch.setattr(positions, "_JOINED", joined)
        total = positions._Contributions(torch.ones(5, 3))
        for pair in ((rows, noise), (more, moved), (more, noise), (rows, moved), (more, moved)):
            total.add(*pair)
        wanted = 1 + sum((a.square() * b.unsqueeze(-2)).sum(-1) for a, b in [
            (rows, noise), (more, moved), (more, noise), (rows, moved), (more, moved),
        ])  # fmt: skip
        torch.testing.assert_close(total.end(), wanted)


@pytest.mark.parametrize(
    "between",
    [nn.Identity(), nn.GroupNorm(2, 4), nn.Flatten(2), nn.Hardswish(), nn.Upsample(scale_factor=2)],
)
def test_an_average_is_never_more_certain_than_independent_positions(between):
    """Functions that do not know the model end it, and others keep it."""
    torch.manual_seed(0)
    network, x = bayesian(nn.Sequential(nn.Conv2d(2, 4, 3), between)), 1 + random(3, 2, 8, 8)
    with bayes.mode(network, "moments"), torch.no_grad():
        y = network(x)
        averaged = y.mean(tuple(range(2, y.dim())))
    plain = y.moments.variance.flatten(2).mean(2) / y[0, 0].numel()
    assert (averaged.moments.variance >= plain * (1 - 1e-6)).all()
    ends = isinstance(between, nn.GroupNorm)
    assert (y.shared is None) == ends
    assert torch.allclose(averaged.moments.variance, plain) == ends


def test_positions_that_are_uncertain_themselves_are_independent():
    x = GaussianTensor(random(2, 3, 4, 4), 1 + random(2, 3, 4, 4).square())
    conv = nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        found = F.conv2d(x, conv.weight, conv.bias).mean((2, 3))
        plain = F.conv2d(x.moments.variance, conv.weight.square()).mean((2, 3)) / 16
    torch.testing.assert_close(found.moments.variance, plain)


def test_maps_are_not_kept_for_their_statistics():
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()) for _ in range(12)]
    network, x = bayesian(nn.Sequential(*layers)), random(1, 2, 37, 41)
    with bayes.mode(network, "moments"), torch.no_grad():
        y = network(x)
        mean, _ = split(y)
        assert mean.shape == x.shape
        gc.collect()
        kept = [
            t for t in gc.get_objects() if isinstance(t, torch.Tensor) and tuple(t.shape) == tuple(x.shape)
        ]
    assert len(kept) < 24
