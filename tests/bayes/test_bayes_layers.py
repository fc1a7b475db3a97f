"""Layers without sparse kernels: outputs, draws, growth gradients, copies and pickles."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_networks import Standardised, Tanh2
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence

from szilard import SzilardError, SzilardWarning, bayes, methods, networks
from szilard.bayes import bayesianize
from szilard.topology import GrowthGradient

NUMBERS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
WORDS = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 4, 1]])


def sequences(batch=3, length=5, width=4):
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(1))


def quiet(network, *options, **named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SzilardWarning)
        return bayesianize(network, *options, **named)


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


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix, self.scale = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.ones(3))
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out((x @ self.matrix).tanh() * self.scale)


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


def test_frozen_weights_stay_as_they_are():
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LSTM(8, 3), nn.Linear(3, 2))
    for parameter in [*network[0].parameters(), network[2].weight_hh_l0, network[3].bias]:
        parameter.requires_grad_(False)
    found = quiet(network, 0.5)
    assert torch.equal(found[0].weight, network[0].weight)
    assert torch.equal(found[2].weight_hh_l0, network[2].weight_hh_l0)
    assert list(bayes.weights(found)) == ["2.weight_ih_l0", "3"]
    frozen = {name for name, p in found.named_parameters() if not p.requires_grad}
    assert frozen == {"0.weight", "0.bias", "2.weight_hh_l0", "3.bias"}
    whole = bayesianize(nn.Linear(4, 2).requires_grad_(False))
    assert not any(p.requires_grad for p in whole.parameters())
    with pytest.raises(SzilardError, match="frozen"):
        methods.MeanField(10).optimizer(whole)


@pytest.mark.parametrize(
    ("choice", "want"),
    [
        ({"only": "head"}, ["head"]),
        ({"only": "body.*"}, ["body.0", "body.1.weight_ih_l0", "body.1.weight_hh_l0"]),
        ({"only": ["head", "*.weight_hh_l0"]}, ["body.1.weight_hh_l0", "head"]),
        ({"except_": ["body.1"]}, ["body.0", "head"]),
        ({"except_": "*_ih_*"}, ["body.0", "body.1.weight_hh_l0", "head"]),
        ({"only": lambda name, module: isinstance(module, nn.Linear)}, ["body.0", "head"]),
        ({"only": "body", "except_": "body.0"}, ["body.1.weight_ih_l0", "body.1.weight_hh_l0"]),
        ({"only": "head", "matrices": "extra"}, ["extra", "head"]),
        ({"only": ["extra", "head"]}, ["extra", "head"]),
    ],
)
def test_only_and_except_select_weights(choice, want):
    network = nn.Module()
    network.extra = nn.Parameter(torch.ones(2, 3))
    network.body, network.head = nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 3)), nn.Linear(3, 2)
    found = quiet(network, 0.5, **choice)
    assert sorted(bayes.weights(found)) == sorted(want)
    for name, parameter in found.named_parameters():
        if not any(name.startswith(one.rsplit(".weight", 1)[0]) for one in want) and "extra" not in name:
            assert torch.equal(parameter, network.get_parameter(name))


def test_patterns_that_match_nothing_are_refused():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    with pytest.raises(SzilardError, match="only names 'haed'"):
        bayesianize(network, only="haed")
    with pytest.raises(SzilardError, match="exclude all weights"):
        bayesianize(network, except_="*")
    with pytest.raises(SzilardError, match="a list of patterns"):
        bayesianize(network, only=[3])
    with pytest.raises(SzilardError, match="no shape yet"):
        bayesianize(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(SzilardError, match="TorchScript"):
        bayesianize(torch.jit.script(network))


def test_weights_that_stay_dense_are_named_and_counted():
    network = nn.Sequential(Bare(), prune.l1_unstructured(nn.Linear(2, 2), "weight", 0.5))
    with pytest.warns(
        SzilardWarning, match=r"0\.matrix \(a matrix of no known layer\).*16 of the network's 22 weights"
    ):
        found = bayesianize(network, 0.5)
    counted = bayes.density(found, 0.5)
    assert (counted.existing, counted.converted, counted.dense) == (3, 6, 16)
    assert counted.left == ("0.matrix", "1.weight_orig")
    assert str(counted) == "86.4 % (asked 50 %)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bayesianize(network, 0.5, except_=["0.matrix", "1"])
        bayesianize(network, point=True)
    named = quiet(network, 0.5, matrices="*.matrix")
    assert bayes.density(named).of_converted == 0.5
    with pytest.warns(SzilardWarning, match="a density of 0.5 saves bytes there and no time"):
        bayesianize(nn.LSTM(4, 3), 0.5)


@pytest.mark.parametrize("density", [0.05, 0.1, 0.5])
def test_the_requested_density_is_achieved(density):
    network = nn.Sequential(
        nn.Embedding(100, 16), nn.LSTM(16, 24, 2), nn.Conv3d(4, 8, 3), nn.Bilinear(8, 8, 8), nn.Linear(64, 64)
    )
    counted = bayes.density(quiet(network, density), density)
    assert counted.of_all == pytest.approx(density, rel=0.01)
    assert counted.left == ()


def test_copies_and_pickles_give_the_same_outputs():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(6, 4, padding_idx=0), nn.LSTM(4, 3, batch_first=True))
    found = quiet(network, 0.5).eval()
    for twin in (
        copy.deepcopy(found),
        pickle.loads(pickle.dumps(found)),
        networks.copied(found.double()).float(),
    ):
        assert torch.allclose(twin(WORDS)[0], found.float()(WORDS)[0])
        assert isinstance(twin[1], nn.LSTM)
        assert twin.state_dict().keys() == found.state_dict().keys()
    strict = quiet(network, 0.5)
    strict.load_state_dict(found.state_dict())
    assert torch.equal(strict.eval()(WORDS)[0], found(WORDS)[0])


def test_export_and_trace_work_on_layers_without_sparse_kernels():
    torch.manual_seed(0)
    found = quiet(nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), Tanh2(16, 3)), 0.5).eval()
    x = torch.randn(2, 1, 3, 3, 3)
    assert torch.allclose(torch.export.export(found, (x,)).module()(x), found(x))
    assert torch.allclose(torch.jit.trace(found, x)(x), found(x))


def test_a_file_determines_which_weights_are_converted():
    """Files written before LSTMs were converted, and before frozen layers stayed dense, still open."""
    network = nn.Sequential(nn.LSTM(4, 3), nn.Linear(3, 2))
    old = {"0.weight_ih_l0", "1.weight.mean", "1.weight.support.crow"}
    assert list(bayes.weights(bayesianize(network, 0.5, stored=old))) == ["1"]
    network[1].requires_grad_(False)
    assert list(bayes.weights(bayesianize(network, 0.5, stored=old))) == ["1"]
    assert list(bayes.weights(quiet(network, 0.5))) == ["0.weight_ih_l0", "0.weight_hh_l0"]


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


def test_labels_state_the_achieved_and_the_requested_density():
    method = methods.SSVI(10, density=0.1, except_="0")
    network = nn.Sequential(nn.Linear(20, 10), nn.Linear(10, 20))
    assert methods.label(method) == "SSVI, 10 % of weights"
    assert methods.label(method, method.prepare(network)) == "SSVI, 55 % of weights (asked 10 %)"
    whole = methods.SSVI(10, density=0.1)
    assert methods.label(whole, whole.prepare(network)) == "SSVI, 10 % of weights"


def test_a_network_that_collects_growth_gradients_can_be_copied_and_pickled():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Conv2d(3, 3, 2), nn.Flatten(), Tanh2(48, 3))
    method = methods.SSVI(8, density=0.3, every=2, growth_batches=2, total_steps=10)
    with pytest.warns(SzilardWarning):
        found = method.prepare(network)
    x = torch.randn(8, 2, 6, 6)
    method.loss(found, x, torch.zeros(8).long()).backward()
    assert method.moves.listening
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert torch.equal(twin.eval()(x), found.eval()(x))


@pytest.mark.slow
def test_a_layer_without_sparse_kernels_compiles():
    torch.manual_seed(0)
    found = quiet(nn.Sequential(nn.Embedding(6, 4), Tanh2(4, 3)), 0.5)
    compiled = torch.compile(copy.deepcopy(found), backend="aot_eager")
    for network in (found, compiled):
        network.train()
        for stream in bayes.streams(network):
            stream.reset(1)
        network(WORDS).square().sum().backward()
    for want, got in zip(found.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad)
    assert torch.equal(compiled.eval()(WORDS), found.eval()(WORDS))
    with bayes.drawn(found, 2):
        want = found(WORDS)
    with bayes.drawn(compiled, 2):
        assert torch.equal(compiled(WORDS), want)
