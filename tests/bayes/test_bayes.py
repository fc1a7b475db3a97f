"""Networks of Gaussian weights: conversion, modes, attention, BatchNorm."""

import copy

import pytest
import torch
from torch import nn

from szilard import bayes
from szilard.bayes import bayesianize
from szilard.errors import SzilardError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def convnet():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


def test_pretrained_weights_are_kept():
    network, x = convnet().eval(), torch.randn(5, 2, 4, 4, generator=generator())
    before = copy.deepcopy(network.state_dict())
    full = bayesianize(network)
    assert torch.allclose(full(x), network(x), atol=1e-6)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    half = bayesianize(network, 0.5, dense_stem=False)
    weight = bayes.weights(half)["4"]
    assert weight.support.nnz == 48
    kept = weight.dense_mean()
    assert torch.equal(
        kept[kept != 0].abs().sort().values, network[4].weight.abs().flatten().sort().values[-48:]
    )
    assert torch.equal(half[4].bias, network[4].bias)


def test_fresh_means_have_the_variance_of_he_initialisation():
    network = bayesianize(nn.Sequential(nn.Linear(2000, 1000)), 0.05, fresh=True, seed=1)
    weight = bayes.weights(network)["0"]
    assert weight.mean.detach().std() == pytest.approx((2 / (0.05 * 2000)) ** 0.5, rel=0.02)
    assert weight.std.detach()[0] == pytest.approx(
        0.1 * float(weight.mean.detach().square().mean().sqrt()), rel=1e-4
    )
    other = bayesianize(nn.Sequential(nn.Linear(2000, 1000)), 0.05, fresh=True, seed=1)
    assert torch.equal(weight.mean, bayes.weights(other)["0"].mean)


def test_density_per_layer_and_dense_stem():
    network = bayesianize(convnet(), 0.25)
    assert [w.support.density for w in bayes.weights(network).values()] == [1.0, 0.25]
    with pytest.raises(SzilardError, match="density"):
        bayesianize(convnet(), 0)
    with pytest.raises(SzilardError, match="skip"):
        bayesianize(convnet(), 0.5, skip=["9"])
    with pytest.raises(SzilardError, match="already"):
        bayesianize(network)
    with pytest.raises(SzilardError, match="no linear"):
        bayesianize(nn.Sequential(nn.ReLU()))
    skipped = bayesianize(convnet(), 0.25, skip=["0"])
    assert isinstance(skipped[0], nn.Conv2d)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv1d(4, 6, 3, padding="same", dilation=2),
        nn.Conv1d(4, 6, 4, padding="same", padding_mode="reflect"),
        nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), groups=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    ],
    ids=str,
)
def test_convolutions_with_every_option(conv):
    x = torch.randn(2, 4, *[9] * (conv.weight.dim() - 2), generator=generator())
    layer = bayesianize(nn.Sequential(conv)).eval()
    assert torch.allclose(layer(x), conv(x), atol=1e-5)
    layer.train()
    layer(x).square().mean().backward()
    weight = bayes.weights(layer)["0"]
    assert weight.mean.grad.abs().sum() > 0
    assert weight.log_std.grad.abs().sum() > 0


def test_mean_local_and_drawn_modes():
    network = bayesianize(nn.Sequential(nn.Linear(6, 4)), initial_std=1.0, seed=3)
    x = torch.randn(3, 6, generator=generator())
    network.eval()
    assert torch.equal(network(x), network(x))
    network.train()
    first, second = network(x), network(x)
    assert not torch.equal(first, second)
    with bayes.mode(network, "mean"):
        assert torch.allclose(network(x), network.eval()(x))
    with bayes.drawn(network, 5, 0):
        one = network(x)
        assert torch.equal(one, network(x))  # the same draw of weights in every call
    with bayes.drawn(network, 5, 1):
        assert not torch.equal(one, network(x))
    with bayes.drawn(network, 5, 0):
        assert torch.equal(one, network(x))
    with pytest.raises(SzilardError, match="mode"), bayes.mode(network, "nope"):
        pass


def test_sample_mode_draws_one_weight_for_the_batch():
    network = bayesianize(nn.Sequential(nn.Linear(6, 4)), initial_std=1.0).train()
    x = torch.randn(1, 6, generator=generator()).repeat(3, 1)
    with bayes.mode(network, "sample"):
        y = network(x)
    assert torch.allclose(y[0], y[1])
    local = network(x)
    assert not torch.allclose(local[0], local[1])
    y.sum().backward()
    assert bayes.weights(network)["0"].log_std.grad.abs().sum() > 0


def test_the_global_random_generator_is_not_advanced():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    network = bayesianize(nn.Sequential(nn.Linear(6, 4)).requires_grad_(False), 0.5, fresh=True)
    after_init = torch.get_rng_state()
    network.train()(torch.ones(2, 6))
    with bayes.drawn(network, 0):
        network(torch.ones(2, 6))
    assert torch.equal(torch.get_rng_state(), after_init)
    assert not torch.equal(state, after_init)  # nn.Linear itself draws its initial weights


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kdim", [None, 6])
def test_attention(batch_first, kdim):
    torch.manual_seed(1)
    attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, kdim=kdim, vdim=kdim).eval()
    network = bayesianize(attention)
    assert len(bayes.weights(network)) == 4
    q = torch.randn(3, 5, 8, generator=generator())
    kv = torch.randn(3, 5, kdim or 8, generator=generator())
    padding = torch.zeros(3, 5, dtype=torch.bool) if batch_first else torch.zeros(5, 3, dtype=torch.bool)
    padding[0, -1] = True
    causal = torch.ones(5 if batch_first else 3, 5 if batch_first else 3).triu(1).bool()
    for options in ({}, {"key_padding_mask": padding}, {"attn_mask": causal}, {"need_weights": False}):
        theirs, ours = attention(q, kv, kv, **options), network(q, kv, kv, **options)
        assert torch.allclose(ours[0], theirs[0], atol=1e-5), options
        if theirs[1] is not None:
            assert torch.allclose(ours[1], theirs[1], atol=1e-5)
    with pytest.raises(SzilardError, match="attn_mask"):
        network(q, kv, kv, is_causal=True)
    assert torch.allclose(network(q[0], kv[0], kv[0])[0], attention(q[0], kv[0], kv[0])[0], atol=1e-5)


def test_transformer_encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    network = bayesianize(encoder)
    assert len(bayes.weights(network)) == 2 * 6
    x = torch.randn(3, 5, 8, generator=generator())
    with torch.no_grad():  # PyTorch would take its fused path here
        assert torch.allclose(network(x), encoder(x), atol=1e-5)
    sparse = bayesianize(encoder, 0.3).train()
    sparse(x).square().mean().backward()
    assert all(w.mean.grad is not None for w in bayes.weights(sparse).values())


def test_tied_weights_stay_tied_and_shared_modules_stay_shared():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.hidden, self.out = (
                nn.Embedding(11, 6),
                nn.Linear(6, 6),
                nn.Linear(6, 11, bias=False),
            )
            self.out.weight = self.embed.weight
            self.again = self.hidden

        def forward(self, x):
            return self.out(self.again(self.hidden(self.embed(x))))

    network = bayesianize(Tied())
    assert network.out.weight is network.embed.weight
    assert network.again is network.hidden
    assert list(bayes.weights(network)) == ["hidden"]


def test_a_single_layer_and_three_dimensional_input():
    network = bayesianize(nn.Linear(4, 3))
    assert isinstance(network, bayes.BayesLinear)
    assert network(torch.ones(2, 5, 4)).shape == (2, 5, 3)
    assert network(torch.ones(4)).shape == (3,)
    with pytest.raises(SzilardError, match="4 inputs"):
        network(torch.ones(2, 5))


def test_batchnorm_statistics_are_those_of_the_mean_network():
    network = bayesianize(convnet(), initial_std=3.0).train()
    x = torch.randn(64, 2, 4, 4, generator=generator())
    for _ in range(3):
        network(x)
    noisy = network[1].running_var.clone()
    assert bayes.reestimate_batchnorm(network, [(x[:32], None), (x[32:], None)]) == 1
    assert network.training
    assert network[1].momentum == 0.1
    with bayes.mode(network, "mean"):
        h = network[0](x)
    assert torch.allclose(network[1].running_mean, h.mean((0, 2, 3)), atol=1e-5)
    assert (network[1].running_var < noisy).all()
    assert bayes.reestimate_batchnorm(nn.Sequential(nn.ReLU()), []) == 0
    with pytest.raises(SzilardError, match="channels"):
        bayes.reestimate_batchnorm(network, [(x[:, :1], None)])  # a channel is missing
    assert network[1].momentum == 0.1
    assert network.training


def test_the_learned_prior_scale_minimises_the_kl():
    network = bayesianize(nn.Sequential(nn.Linear(9, 9)), prior="learned")
    weight = bayes.weights(network)["0"]
    best = (weight.mean.square() + weight.std.square()).mean().sqrt().item()
    fixed = [bayes.gaussian_kl(weight.mean, weight.log_std, best * s).item() for s in (0.9, 1.0, 1.1)]
    assert weight.kl().item() == pytest.approx(fixed[1], rel=1e-5)
    assert fixed[1] < min(fixed[0], fixed[2])
    with pytest.raises(SzilardError, match="prior"):
        bayes.make_prior("cauchy")


def test_state_dict_round_trip_and_deepcopy():
    a = bayesianize(convnet(), 0.3, fresh=True, seed=1)
    b = bayesianize(convnet(), 0.3, fresh=True, seed=2)
    b.load_state_dict(a.state_dict())
    x = torch.randn(2, 2, 4, 4, generator=generator())
    assert torch.equal(a.eval()(x), b.eval()(x))
    c = copy.deepcopy(a)
    assert torch.equal(c(x), a(x))
    diagnosed = bayes.diagnostics(a)
    assert [d["nnz"] for d in diagnosed] == [72, 29]
    assert torch.allclose(diagnosed[1]["snr"], diagnosed[1]["mean"].abs() / diagnosed[1]["log_std"].exp())
