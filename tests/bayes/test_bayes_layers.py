"""Layers without sparse kernels: outputs, draws and growth gradients."""

from __future__ import annotations

import warnings

import pytest
import torch
from bare_layers import WORDS, Bare, quiet
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_networks import Standardised, Tanh2
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence

from szilard import SzilardWarning, bayes, methods
from szilard.bayes import bayesianize
from szilard.topology import GrowthGradient

NUMBERS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def sequences(batch=3, length=5, width=4):
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(1))


def outputs(network, x):
    found = network(x)
    return found if isinstance(found, torch.Tensor) else found[0]


def hooked(layer):
    layer.register_forward_hook(lambda module, given, out: out * 0.5)
    layer.register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return layer


def centred(layer):
    parametrize.register_parametrization(layer, "weight", Standardised())
    return layer


class Reads(nn.Module):
    """Reads the weights of layers, besides calling one of them."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 6), nn.Embedding(6, 4)

    def forward(self, x):
        weight = self.first.weight
        return self.first(x) @ weight + (x @ weight.T) @ self.norm.weight + weight.square().sum() * 2


class Attending(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x)[0]


NETWORKS = {
    "Conv3d": (lambda: nn.Conv3d(2, 3, 2, stride=2, padding=1, groups=1), torch.ones(2, 2, 4, 4, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), torch.ones(2, 4, 5)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1), torch.ones(2, 2, 5, 5)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 3, 2, dilation=2), torch.ones(1, 2, 3, 3, 3)),
    "Embedding": (lambda: nn.Embedding(6, 4, padding_idx=0), WORDS),
    "Embedding, bounded": (lambda: nn.Embedding(6, 4, max_norm=0.5), WORDS),
    "EmbeddingBag": (lambda: nn.EmbeddingBag(6, 4, mode="mean", sparse=True), WORDS),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), NUMBERS),
    "own forward": (lambda: Tanh2(4, 3), NUMBERS),
    "hooks": (lambda: nn.Sequential(hooked(nn.Linear(4, 3)), nn.ReLU()), NUMBERS),
    "hooked attention": (lambda: hooked(nn.Sequential(Attending())), sequences()),
    "attention with a bias": (lambda: Attending(add_bias_kv=True, add_zero_attn=True), sequences()),
    "weights read": (Reads, NUMBERS),
    "bare": (Bare, NUMBERS),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2)),
        NUMBERS,
    ),
    "standardised": (lambda: nn.Sequential(centred(nn.Linear(4, 3)), nn.Linear(3, 2)), NUMBERS),
    "pruned": (
        lambda: nn.Sequential(prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5), nn.Linear(3, 2)),
        NUMBERS,
    ),
    "transformer": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2),
        sequences(),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("gradients", [True, False])
def test_at_density_1_without_noise_the_outputs_are_the_same(name, gradients):
    build, x = NETWORKS[name]
    torch.manual_seed(0)
    network = build().eval()
    with torch.set_grad_enabled(gradients):
        want = outputs(network, x)
        found = quiet(network, matrices="matrix" if name == "bare" else ()).eval()
        assert bayes.weights(found)
        torch.testing.assert_close(outputs(found, x), want, rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            for weight in bayes.weights(found).values():
                weight.log_std.fill_(-30.0)
        with bayes.drawn(found, 3):
            torch.testing.assert_close(outputs(found, x), want, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 2]),
    st.booleans(),
)
def test_recurrent_layers_with_every_option(kind, layers, both, first, bias, projection, packed):
    options = {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias}
    if kind is nn.LSTM:
        options["proj_size"] = projection
    torch.manual_seed(0)
    layer = kind(4, 3, **options).eval()
    x = sequences()
    if packed:
        x = pack_padded_sequence(x, torch.tensor([5, 2, 1] if first else [3, 3, 2, 1, 1]), batch_first=first)
    found = quiet(layer)
    assert len(bayes.weights(found)) == layers * (1 + both) * (
        3 if "proj_size" in options and projection else 2
    )
    want, got = layer(x)[0], found(x)[0]
    if packed:
        want, got = want.data, got.data
    torch.testing.assert_close(got, want)
    back = bayes.point_network(found)
    assert type(back) is kind
    assert [n for n, _ in back.named_parameters()] == [n for n, _ in layer.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(back.parameters(), layer.parameters(), strict=True))


def test_one_draw_is_used_for_a_whole_sequence_and_for_all_reads_in_a_call():
    found = bayesianize(nn.LSTM(4, 3, batch_first=True), initial_std=1.0).train()
    x = sequences(1).expand(2, -1, -1)
    first, second = found(x)[0], found(x)[0]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first, second)

    class Difference(nn.Linear):
        def forward(self, x):
            with torch.no_grad():
                seen = self.weight.clone()
            return (self.weight - seen).sum() + x @ self.weight.T

    found = bayesianize(Difference(4, 3), initial_std=1.0).train()
    y = found(torch.zeros(1, 4))
    assert float(y.abs().max()) == 0
    y.sum().backward()
    mean = found.bayes_weights.weight.mean
    assert torch.equal(mean.grad, torch.full_like(mean, 3.0))  # although the first read was without gradients


def test_a_padding_row_has_no_noise_and_no_gradient():
    words = nn.Embedding(6, 4, padding_idx=2)
    with torch.no_grad():
        words.weight[2] = 7.0
    found = quiet(words, 0.5, fresh=True, initial_std=1.0).train()
    y = found(torch.tensor([2, 2, 1]))
    assert torch.equal(y[:2], torch.full((2, 4), 7.0))
    y.sum().backward()
    inside = found.bayes_weights.weight.support.flat() // 4 == 2
    assert float(found.bayes_weights.weight.mean.grad[inside].abs().sum()) == 0


@pytest.mark.parametrize("name", ["LSTM", "Embedding", "own forward", "ConvTranspose2d"])
def test_the_growth_gradient_is_that_of_the_dense_weight(name):
    torch.manual_seed(0)
    build, x = NETWORKS[name] if name != "LSTM" else (lambda: nn.LSTM(4, 3, batch_first=True), sequences())
    found = quiet(build(), 0.4)
    plain = bayes.point_network(found.eval())
    outputs(plain, x).square().sum().backward()
    for _, weight, rows in bayes.every_weight(found):
        weight.growth = GrowthGradient(rows, weight.support.rows * weight.support.cols)
    outputs(found, x).square().sum().backward()
    for leaf, weight in bayes.weights(found).items():
        want = plain.get_parameter(leaf).grad.reshape(weight.support.rows, -1)
        torch.testing.assert_close(weight.growth.total, want)
        torch.testing.assert_close(weight.mean.grad, weight.support.gather(want))


def test_fan_in_of_a_transposed_convolution_counts_the_inputs_of_one_output():
    layer = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, bias=False)
    weight = next(iter(bayes.weights(bayesianize(layer)).values()))
    assert weight.fan_in == 8 * 4 * 4 / (2 * 2)
    torch.manual_seed(0)
    found = quiet(nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1, bias=False), 0.5, fresh=True)
    x = torch.randn(8, 64, 12, 12, generator=torch.Generator().manual_seed(0))
    y = found.eval()(x)[:, :, 2:-2, 2:-2]
    assert float(y.std()) == pytest.approx(
        2**0.5, rel=0.05
    )  # He initialisation doubles the variance; a ReLU halves it


@pytest.mark.parametrize("make", [methods.SSVI, methods.Deterministic])
def test_supports_of_recurrent_weights_move_and_learn(make):
    torch.manual_seed(0)
    x = torch.randn(64, 6, 4)
    y = (x[:, :, 0].sum(1) > 0).long()

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 2)

        def forward(self, x):
            return self.out(self.layer(x)[0][:, -1])

    method = make(64, density=0.3, every=10, growth_batches=2, total_steps=120, lr=0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        network = method.prepare(Tagger())
    optimizer = method.optimizer(network)
    before = {name: weight.support.flat() for name, weight in bayes.weights(network).items()}
    for _ in range(120):
        optimizer.zero_grad()
        method.loss(network, x, y).backward()
        optimizer.step()
        method.after_step(network, optimizer)
    for name, weight in bayes.weights(network).items():
        assert weight.support.nnz == len(before[name])
        assert not torch.equal(weight.support.flat(), before[name])
    assert float((method.predict(network, x, samples=8).labels == y).float().mean()) > 0.9
