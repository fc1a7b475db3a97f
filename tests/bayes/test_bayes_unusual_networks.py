"""Unusual but common network code: layers in plain lists, complex weights, outputs changed in place."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from plain_loop import batches, mlp, prepared, step
from torch import nn

import szilard
from szilard import SzilardError, SzilardWarning, methods
from szilard.likelihood import Gaussian


def test_loading_a_state_of_another_density_is_refused():
    stored = szilard.bayesianize(nn.Linear(24, 6), 0.3).state_dict()
    with pytest.raises(SzilardError, match=r"43 of 144 entries .*that of this network 29"):
        szilard.bayesianize(nn.Linear(24, 6), 0.2).load_state_dict(stored)


class Encoder(nn.Module):
    """A text classifier with a padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8, padding_idx=0), nn.Linear(8, 3)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    def forward(self, x):
        padding = x == 0
        y = self.encoder(self.embedding(x), src_key_padding_mask=padding)
        return self.head(y.masked_fill(padding[..., None], 0).sum(1))


@pytest.mark.parametrize("options", [{}, {"except_": "*.self_attn"}, {"only": "*.self_attn"}])
def test_encoders_with_a_padding_mask_predict(options):
    torch.manual_seed(0)
    network = Encoder().eval()
    x = torch.randint(1, 20, (4, 6))
    x[:, 4:] = 0
    method = methods.SSVI(4, density=0.5, **options)
    assert method.predict(method.prepare(network), x, samples=2).probabilities.shape == (2, 4, 3)
    same = szilard.bayesianize(network, **options).eval()
    with torch.no_grad():
        assert torch.allclose(same(x), network(x), atol=1e-5)


class Spectral(nn.Module):
    """Complex and real weights, as in a Fourier neural operator."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(1, 8), nn.Linear(8, 1)
        self.modes = nn.Parameter(torch.randn(8, 8, 5, dtype=torch.cfloat) / 8)

    def forward(self, x):
        h = self.first(x)
        modes = torch.einsum("bki,iok->bko", torch.fft.rfft(h, dim=1)[:, :5], self.modes)
        return self.last(h + torch.fft.irfft(modes, n=x.shape[1], dim=1))


def test_complex_weights_stay_dense_and_are_named():
    with pytest.warns(
        SzilardWarning, match=r"modes \(complex numbers\) stays dense .* 320 of the network's 336"
    ):
        network = szilard.bayesianize(Spectral(), 0.5)
    assert szilard.bayes.density(network).dense == 320
    with pytest.raises(SzilardError, match="complex numbers"):
        szilard.bayesianize(Spectral(), matrices="modes")
    with pytest.raises(SzilardError, match="no linear"):
        szilard.bayesianize(nn.Linear(4, 4, dtype=torch.cfloat))
    assert szilard.cost.count(Spectral(), (16, 1)).macs > 0
    method = methods.SSVI(8, density=0.5, except_="modes")
    network, optimizer = prepared(method, Spectral(), task=Gaussian(1.0))
    step(method, network, optimizer, torch.randn(4, 16, 1), torch.randn(4, 16, 1))


def test_an_image_without_a_batch_dimension():
    network = szilard.bayesianize(nn.Sequential(nn.Conv2d(3, 8, 3)), 0.5, dense_stem=False).eval()
    x = torch.randn(3, 8, 8)
    assert torch.allclose(network(x), network(x.unsqueeze(0))[0], atol=1e-6)


def test_invalid_shapes_are_refused():
    with pytest.raises(SzilardError, match=r"give \(4,\)"):
        szilard.cost.count(nn.Linear(4, 3), 4)
    with pytest.raises(SzilardError, match="negative"):
        szilard.cost.count(nn.Linear(4, 3), (-4,))


class Listed(nn.Module):
    """Layers that are also kept in a plain list, tuple or dict."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        layers = [self.a, self.b, self.c]
        self.layers = dict(enumerate(layers)) if kind is dict else kind(layers)

    def forward(self, x):
        a, b, c = self.layers.values() if isinstance(self.layers, dict) else self.layers
        return c(torch.relu(b(torch.relu(a(x)))))


@pytest.mark.parametrize("kind", [list, tuple, dict])
@pytest.mark.parametrize("method", [methods.SSVI, methods.MeanField, methods.BayesianCompression])
def test_layers_in_a_plain_container_are_replaced_too(method, kind):
    torch.manual_seed(0)
    original = Listed(kind)
    network = method(64, **({"density": 0.5} if method is methods.SSVI else {})).prepare(original)
    held = network.layers.values() if kind is dict else network.layers
    assert [id(layer) for layer in held] == [id(layer) for layer in (network.a, network.b, network.c)]
    assert type(original.a) is nn.Linear
    szilard.methods.MeanField(64).loss(network, torch.randn(8, 6), torch.zeros(8).long()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    point = szilard.bayes.point_network(network.eval())
    held = point.layers.values() if kind is dict else point.layers
    assert [type(layer) for layer in held] == [nn.Linear] * 3
    x = torch.randn(4, 6)
    with szilard.bayes.mode(network, "mean"), torch.no_grad():
        assert torch.allclose(point(x), network(x), atol=1e-5)


def test_a_relu_is_not_fused_into_a_layer_that_is_also_called_alone():
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
            self.first = [self.body[0]]

        def forward(self, x):
            return self.body(x) + self.first[0](x)

    torch.manual_seed(0)
    original = Both().eval()
    network = szilard.bayesianize(original).eval()
    x = torch.randn(8, 6)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-6)


def test_nan_weights_are_refused():
    network = mlp()
    with torch.no_grad():
        network[2].weight[0, 0] = float("nan")
    with pytest.raises(SzilardError, match="2 holds NaN or infinite weights"):
        szilard.bayesianize(network, 0.5)


class ResidualByClass(nn.Module):
    """Adds a residual connection around each layer of one class, found with isinstance."""

    def __init__(self, layers: list[nn.Module], kind: type[nn.Module]) -> None:
        super().__init__()
        self.layers, self.kind = nn.ModuleList(layers), kind

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x) if isinstance(layer, self.kind) else layer(x)
        return x


@pytest.mark.parametrize(
    ("layers", "kind", "shape"),
    [
        ([nn.Linear(6, 6), nn.Dropout(0.0), nn.Linear(6, 6)], nn.Linear, (4, 6)),
        ([nn.Conv2d(3, 3, 3, padding=1), nn.Tanh()], nn.Conv2d, (2, 3, 5, 5)),
        ([nn.Conv1d(3, 3, 3, padding=1), nn.Tanh()], nn.Conv1d, (2, 3, 5)),
    ],
)
def test_converted_layers_are_instances_of_torchs_classes(layers, kind, shape):
    original = ResidualByClass(layers, kind).eval()
    network = szilard.bayesianize(original, 1.0, initial_std=1e-7).eval()
    x = torch.randn(*shape)
    with torch.no_grad():
        assert torch.allclose(network(x), original(x), atol=1e-5)
    again = copy.deepcopy(network)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))
    with pytest.raises(SzilardError, match="cannot be reset"):
        network.layers[0].reset_parameters()


def test_converted_attention_is_an_instance_of_torchs_class():
    network = szilard.bayesianize(nn.MultiheadAttention(8, 2, batch_first=True))
    assert isinstance(network, nn.MultiheadAttention)
    assert (network.kdim, network.vdim, network.add_zero_attn) == (8, 8, False)


def test_only_the_first_layer_is_the_dense_stem():
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8, 4))

    frozen = network()
    frozen[0].requires_grad_(False)
    for made in (szilard.bayesianize(frozen, 0.1), szilard.bayesianize(network(), 0.1, except_="0")):
        assert szilard.bayes.weights(made)["1"].support.density == pytest.approx(0.1, abs=0.01)
    assert szilard.bayes.weights(szilard.bayesianize(network(), 0.1))["0"].support.density == 1


def test_loading_an_invalid_support_leaves_the_old_one():
    network = szilard.bayesianize(nn.Linear(24, 6), 0.3)
    state, x = network.state_dict(), torch.randn(3, 24)
    before = network.eval()(x)
    broken = {**state, "weight.support.col": state["weight.support.col"].flip(0)}
    with pytest.raises(SzilardError, match="not a support"):
        network.weight.support.load_state_dict(
            {name.removeprefix("weight.support."): t for name, t in broken.items() if "support" in name}
        )
    assert torch.equal(network(x), before)


def test_layers_captured_by_a_lambda_are_warned_about():
    class Captured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
            self.step = lambda x: torch.relu(self.a(x))

        def forward(self, x):
            return self.b(self.step(x))

    method = methods.SSVI(64, density=0.5)
    network = method.prepare(Captured())
    with pytest.warns(SzilardWarning, match="does not depend on the weights a, so"):
        method.loss(network, torch.randn(8, 6), torch.zeros(8).long())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.loss(network, torch.randn(8, 6), torch.zeros(8).long())


@pytest.mark.parametrize(
    "kind", [methods.SSVI, methods.MeanField, methods.BayesianCompression, methods.Deterministic]
)
def test_ordinary_networks_give_no_warning(kind):
    method = kind(64)
    network = method.prepare(mlp())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.loss(network, *batches(1)[0])


def test_a_single_converted_convolution_is_not_a_dense_stem():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    made = szilard.bayesianize(network, 0.1, only="0")
    assert szilard.bayes.weights(made)["0"].support.density == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("method", [methods.SSVI, methods.MeanField, methods.Deterministic])
def test_outputs_of_layers_may_be_changed_in_place(method, density):
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
            self.conv = nn.Conv1d(1, 2, 3, padding=1)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            h = self.relu(self.a(x))
            skip, h = h, self.conv(h[:, None])[:, 0]
            h += skip
            h = h[:, None]
            attended, _ = self.attention(h, h, h)
            attended += 1
            return self.b(attended[:, 0])

    options = {} if method is methods.MeanField else {"density": density}
    made = method(16, **options)
    network = made.prepare(InPlace())
    x, y = torch.randn(16, 6), torch.randint(0, 3, (16,))
    made.loss(network, x, y).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
