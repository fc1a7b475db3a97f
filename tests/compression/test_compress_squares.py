"""Curvature from gradients, compared with the dense Gauss-Newton matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from headed import Head, last, sequences
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, jacrev
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from szilard.compression import curvatures
from szilard.likelihood import Gaussian


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x.flip(1), x.roll(1, 1))[0]


class Steps(nn.Module):
    """A recurrent cell, called step by step."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        h = torch.zeros(len(x), 3)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return h


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = nn.Bilinear(3, 2, 4)

    def forward(self, x):
        return self.both(x[:, :3], x[:, 3:])


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.mixing = nn.Parameter(torch.randn(3, 4))
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x):
        return torch.tanh((x + self.token) * self.scale) @ self.mixing.T


class Twice(nn.Module):
    """A layer called twice, one whose weight is also used directly, one of a subclass, and one with a hook."""

    def __init__(self):
        super().__init__()
        self.layer, self.read = nn.Linear(4, 4), nn.Linear(4, 4)
        self.odd, self.hooked = Standardised(4, 4), nn.Linear(4, 4)
        self.hooked.register_forward_hook(lambda module, given, output: 3 * output)

    def forward(self, x):
        x = self.layer(torch.tanh(self.layer(x)))
        x = self.read(x) + F.linear(torch.tanh(x), self.read.weight)
        return self.hooked(torch.tanh(self.odd(x)))


class Standardised(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight / self.weight.norm(), self.bias)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.words.weight

    def forward(self, tokens):
        return self.out(torch.tanh(self.words(tokens).sum(1)))


class Windows(nn.Module):
    """The layer treats parts of an example as separate examples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return torch.tanh(self.layer(x.reshape(-1, 4))).reshape(len(x), -1)


def mean(output):
    return output[0].mean(1)


def words(n=24):
    return torch.randint(0, 7, (n, 3), generator=torch.Generator().manual_seed(0))


NETWORKS = {
    "lstm with projections, both ways": lambda: (
        Head(nn.LSTM(4, 3, proj_size=2, bidirectional=True, batch_first=True), mean),
        sequences(),
    ),
    "gru": lambda: (Head(nn.GRU(4, 3, batch_first=True), last), sequences()),
    "rnn": lambda: (Head(nn.RNN(4, 3, batch_first=True), last), sequences()),
    "cell": lambda: (Steps(nn.GRUCell(4, 3)), sequences()),
    "attention": lambda: (Head(Attends()), sequences()),
    "bilinear": lambda: (Pairs(), sequences(24, 5)),
    "bare": lambda: (Head(Bare()), sequences()),
    "embedding": lambda: (Head(nn.Embedding(7, 3)), words()),
    "bag": lambda: (nn.EmbeddingBag(7, 3), words()),
    "sparse gradients": lambda: (Head(nn.Embedding(7, 3, sparse=True)), words()),
    "tied": lambda: (Tied(), words()),
    "twice": lambda: (Twice(), sequences(24, 4)),
    "windows": lambda: (Windows(), sequences()),
    "transposed 1": lambda: (Head(nn.ConvTranspose1d(5, 3, 2)), sequences()),
    "transposed 2": lambda: (Head(nn.ConvTranspose2d(2, 4, 2, stride=2, groups=2)), sequences(24, 2, 3, 3)),
    "transposed 3": lambda: (Head(nn.ConvTranspose3d(2, 1, 2)), sequences(24, 2, 2, 2, 2)),
    "normed": lambda: (nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.PReLU(8)), sequences(100, 4)),
    "weight norm": lambda: (parametrizations.weight_norm(nn.Linear(4, 3)), sequences(24, 4)),
    "two towers": lambda: (Towers(), sequences(300, 4)),
    "by name": lambda: (ByName(), sequences(24, 4)),
}


class Towers(nn.Module):
    """Two parallel layers."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return torch.cat([self.left(x), self.right(x)], 1)


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(input=x)


def dense(network: nn.Module, x: Tensor, name: str, jacobian_of: Callable[..., Any] = jacrev) -> Tensor:
    """Blocks of the Gauss-Newton matrix of the rows of a parameter, mean over examples, ``[rows, cols, cols]``."""
    if isinstance(getattr(network, "inner", None), nn.Embedding):
        network.inner.sparse = False
    parameters = {key: p.detach() for key, p in network.named_parameters()}

    def answer(p):
        return functional_call(network, {**parameters, name: p}, x, tie_weights=True)

    p = parameters[name]
    jacobian = jacobian_of(answer)(p).reshape(-1, len(p), max(1, p[0].numel())).double()
    return torch.einsum("orc,ord->rcd", jacobian, jacobian) / len(x)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_tensor_has_the_curvature_of_the_gauss_newton_matrix(kind, monkeypatch):
    torch.manual_seed(0)
    network, x = NETWORKS[kind]()
    network.eval()
    for name in ("SAMPLES", "FEW"):
        monkeypatch.setattr(f"szilard.compression.curvature.{name}", 300)  # standard error of a square: 8 %
    found = curvatures(network, [x], lambda net, batch: net(batch), likelihood=Gaussian())
    assert set(found) == {name for name, _ in network.named_parameters()}
    for name, p in network.named_parameters():
        blocks = dense(network, x, name)
        wanted = blocks.diagonal(dim1=1, dim2=2).sum(1)
        if p.dim() < 2:
            got = found[name].offset
            torch.testing.assert_close(got.mean(), wanted.mean(), rtol=0.2, atol=1e-6, msg=name)
            continue
        a = found[name].inputs
        full = a if a.dim() == 3 else torch.diag_embed(a)
        full = full.repeat_interleave(len(p) // len(full), 0)
        got = found[name].outputs[:, None, None] * full
        if kind != "normed":  # for layers with hooks, inputs and gradients are treated as independent
            torch.testing.assert_close(
                got.diagonal(dim1=1, dim2=2).sum(), wanted.sum(), rtol=0.2, atol=1e-6, msg=name
            )
        # The rows of a group share A: compare its direction with the mean of the normalised blocks.
        if name.endswith(("hh_l0", "ih_l0", "in_proj_weight", "words.weight", "both.weight", "mixing")):
            scaled = blocks / wanted.clamp_min(1e-12)[:, None, None]
            mean = scaled.reshape(len(a), -1, *scaled.shape[1:]).mean(1)
            mine = full[:: len(p) // len(a)] / full.diagonal(dim1=1, dim2=2).sum(1).mean()
            assert F.cosine_similarity(mean.flatten(), mine.flatten(), 0) > 0.95, name


def test_curvature_of_three_dimensional_convolutions():
    torch.manual_seed(0)
    layer = nn.Conv3d(2, 4, (2, 1, 2), stride=(1, 2, 1), padding=(1, 0, 1), dilation=(1, 1, 2), groups=2)
    x = sequences(400, 2, 4, 4, 4)
    found = curvatures(Head(layer), [x], lambda net, batch: net(batch), likelihood=Gaussian())["inner.weight"]
    assert found.inputs.shape == (2, 4, 4)
    # Gradients at positions are independent here, so G A is the mean block.
    blocks = dense(Head(layer), x, "inner.weight", jacfwd)
    got = found.outputs[:, None, None] * found.inputs.repeat_interleave(2, 0)
    torch.testing.assert_close(got, blocks, rtol=0.2, atol=0.3)
