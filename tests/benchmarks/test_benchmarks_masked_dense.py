"""The masked-dense baseline is SSVI on the same support: same outputs, gradients and KL divergence."""

import pytest
import torch
from scipy import stats
from torch import nn

from szilard import bayes
from training import masked_dense


def sparse(kind, seed=0):
    g = torch.Generator().manual_seed(seed)
    if kind == "linear":
        layer, x = nn.Linear(24, 13), torch.randn(64, 24, generator=g)
    else:
        layer, x = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.randn(32, 4, 9, 7, generator=g)
    network = bayes.bayesianize(nn.Sequential(layer), 0.3, fresh=True, dense_stem=False, initial_std=0.7)
    return network.train(), x


def drawn_noise(layer, x, y):
    """ε of each output, from the definition y = mean + sqrt(variance + tiny) ε in double precision."""
    weight = layer.weight
    twin = masked_dense.MaskedLayer(layer).double()
    mean = twin.product(x.double(), weight.dense_mean().double(), twin.bias)
    variance = twin.product(
        x.double().square(), weight.support.scatter(weight.std.detach().double().square())
    )
    return ((y.double() - mean) / (variance + masked_dense.TINY).sqrt()).detach()


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_gradients_of_the_same_draw_agree(kind):
    network, x = sparse(kind)
    layer = network[0]
    twin = masked_dense.masked_twin(network)[0]
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = network(ours)
    expected = twin(theirs, noise=drawn_noise(layer, x, y).float())
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weights).sum().backward()
    (expected * weights).sum().backward()
    support = layer.weight.support
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-3)
    for mine, other in ((layer.weight.mean, twin.mean), (layer.weight.log_std, twin.log_std)):
        torch.testing.assert_close(mine.grad, support.gather(other.grad), rtol=1e-3, atol=1e-3)
        assert not other.grad[~support.mask()].any()
        assert other.grad[support.mask()].all()
    torch.testing.assert_close(layer.bias.grad, twin.bias.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_both_draw_from_the_same_distribution(kind):
    network, x = sparse(kind)
    layer = network[0]
    twin = masked_dense.masked_twin(network)[0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for drawn in (network, twin):
            noise = drawn_noise(layer, x, drawn(x)).flatten()
            assert stats.kstest(noise.numpy(), "norm").pvalue > 1e-3


def test_kl_divergences_agree():
    network = nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten(), nn.Linear(45, 7))
    network = bayes.bayesianize(network, 0.2, fresh=True)
    twin = masked_dense.masked_twin(network)
    torch.testing.assert_close(masked_dense.kl(twin), bayes.kl(network), rtol=1e-5, atol=1e-4)


def test_optimiser_state_of_missing_entries_is_cleared():
    network, x = sparse("linear")
    twin = masked_dense.masked_twin(network)
    optimizer = torch.optim.Adam(twin.parameters())
    twin(x).square().sum().backward()
    optimizer.step()
    state = optimizer.state[twin[0].mean]["exp_avg"]
    state += 1
    masked_dense.mask_momentum(twin, optimizer)
    mask = twin[0].mask.bool()
    assert not state[~mask].any()
    assert (state[mask] != 0).all()
