"""Curvature from gradients, compared with the dense Gauss-Newton matrix."""

from __future__ import annotations

import copy
import lzma
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacfwd, jacrev
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import szilard
from szilard.compression import curvatures, default_passes
from szilard.compression.gradient_curvature import Squares
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Gaussian


class Head(nn.Module):
    """The outputs of a module, flattened to ``[B, K]``."""

    def __init__(self, inner, then=lambda y: y):
        super().__init__()
        self.inner, self.then = inner, then

    def forward(self, x):
        return self.then(self.inner(x)).flatten(1)


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


def last(output):
    return output[0][:, -1]


def mean(output):
    return output[0].mean(1)


def sequences(n=24, *shape):
    return torch.randn(n, *(shape or (5, 4)), generator=torch.Generator().manual_seed(0))


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


def test_tokens_without_examples_still_have_curvature():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(24, 4)).eval()
    frequent = torch.randint(0, 5, (300, 2), generator=torch.Generator().manual_seed(0))
    rare = torch.arange(5, 25).repeat(15)[:300, None]
    found = curvatures(network, [torch.cat([frequent, rare], 1)], lambda net, x: net(x))["0.weight"].outputs
    assert found[:5].min() > found[5:25].max()
    assert torch.all(found[25:] == found[25])
    assert 0.01 * found[5:25].mean() < found[25] < found[5:25].mean()
    made = szilard.compress(network, torch.cat([frequent, rare], 1), lam=1e-4)
    before, after = network[0].weight[25:], made.network[0].weight[25:]
    assert (after - before).norm() < 0.6 * before.norm()


def test_the_padding_vector_has_the_curvature_of_its_frequency():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, 3))
    with torch.no_grad():
        network[0].weight[0] = 1.0
    x = torch.randint(1, 9, (200, 3), generator=torch.Generator().manual_seed(0))
    x[:, 1:] = 0
    found = curvatures(network, [x], lambda net, batch: net(batch))["0.weight"].outputs
    assert found[0] > 2 * found[1:].max()
    assert network[0].padding_idx == 0


def test_rows_with_few_gradients_are_shrunk_to_the_mean():
    squares = Squares(torch.Size([4, 3]))
    for row, size in ((0, 1.0), (0, 1.0), (1, 10.0)):
        grad = torch.zeros(4, 3)
        grad[row] = size
        squares.see(grad)
    found = squares.mean(3).outputs
    each = (3 + 3 + 300) / 3
    assert found.tolist() == pytest.approx(
        [(v / 9) for v in (2 * (6 + each) / 3, (300 + each) / 2, each / 2, each / 2)]
    )


def test_a_matrix_that_few_samples_cannot_determine_is_kept_diagonal():
    generator = torch.Generator().manual_seed(0)
    noise = Squares(torch.Size([30, 20]), samples=4)
    real = Squares(torch.Size([30, 20]), samples=4)
    for _ in range(4):
        noise.see(torch.randn(30, 20, generator=generator))
        real.see(torch.randn(30, 1, generator=generator) + 0.1 * torch.randn(30, 20, generator=generator))
    assert not Squares(torch.Size([2, 20]), samples=4).full
    off = [one.mean(1).inputs[0].fill_diagonal_(0).abs().mean() for one in (noise, real)]
    assert off[0] < 0.05
    assert off[1] > 0.9


class Rooted(nn.Module):
    """The derivative of the square root is infinite at 0."""

    def __init__(self):
        super().__init__()
        self.first, self.gru = nn.Linear(4, 4, bias=False), nn.GRU(4, 3, batch_first=True)

    def forward(self, x):
        return self.gru(self.first(x).abs().sqrt()[:, None])[0][:, -1]


@pytest.mark.parametrize("share", [1 / 30, 0.5])
def test_examples_with_nan_gradients_are_left_out_and_many_are_warned_about(share, recwarn):
    torch.manual_seed(0)
    network, x = Rooted(), sequences(60, 4)
    x[: round(60 * share)] = 0
    found = curvatures(network, [x], lambda net, batch: net(batch), likelihood=Gaussian())
    assert all(
        torch.isfinite(one.inputs).all() and torch.isfinite(one.outputs).all() for one in found.values()
    )
    assert (found["first.weight"].outputs > 0).all()
    warned = [str(w.message) for w in recwarn if issubclass(w.category, SzilardWarning)]
    assert len(warned) == (share > 0.1)
    if warned:
        assert "first.weight: gradients are NaN or infinite for 50 %" in warned[0]


def test_a_network_without_gradients_is_warned_about():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x).detach()

    with pytest.warns(SzilardWarning, match="cannot be measured"):
        assert curvatures(Detached(), [sequences(8, 4)], lambda net, x: net(x)) == {}


def test_scripted_networks_have_the_same_curvature():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).eval()
    x = sequences(256, 8)
    scripted = torch.jit.script(copy.deepcopy(network))
    passes = default_passes(refit=False)  # the inputs of a scripted layer cannot be recorded
    eager, other = (szilard.compress(one, x, lam=1e-6, passes=passes) for one in (network, scripted))
    assert len(other.data) == pytest.approx(len(eager.data), rel=0.08)
    with torch.no_grad():
        wanted = network(x)
        errors = [float((one.network(x) - wanted).norm() / wanted.norm()) for one in (eager, other)]
    assert errors[1] < 0.1
    assert errors[1] == pytest.approx(errors[0], rel=0.6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_as_float32(dtype):
    torch.manual_seed(0)
    network = Head(nn.GRU(4, 3, batch_first=True), last).to(dtype)
    x = sequences().to(dtype)
    half = curvatures(network, [x], lambda net, batch: net(batch), likelihood=Gaussian())
    full = curvatures(
        copy.deepcopy(network).float(), [x.float()], lambda net, batch: net(batch), likelihood=Gaussian()
    )
    assert {p.dtype for p in network.parameters()} == {dtype}
    for name, one in full.items():
        torch.testing.assert_close(half[name].outputs, one.outputs, rtol=1e-4, atol=0)


def test_curvature_by_the_name_of_a_layer_is_refused():
    network = nn.Sequential(nn.Linear(4, 3))
    known = curvatures(network, [sequences(8, 4)], lambda net, x: net(x))
    passes = [szilard.compression.Quantise(curvature={"0": known["0.weight"]})]
    with pytest.raises(SzilardError, match="0, which is not a parameter"):
        szilard.compress(network, lam=1e-6, passes=passes)


class Recurrent(nn.Module):
    """Classifies a sequence by which of its first three columns has the largest sum."""

    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(6, 24, batch_first=True), nn.Linear(24, 3)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


def trained_recurrent() -> Recurrent:
    torch.manual_seed(0)
    network = Recurrent()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(120):
        x = torch.randn(64, 8, 6, generator=generator)
        y = x[:, :, :3].sum(1).argmax(1)
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval()


def by_row(network: nn.Module, bits: int) -> tuple[nn.Module, int]:
    """Round every matrix by row to ``bits`` bits; the network and the size after xz, bytes."""
    rounded, data = copy.deepcopy(network), b""
    for p in rounded.parameters():
        if p.dim() > 1:
            scale = p.detach().abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
            levels = (p.detach() / scale).round()
            p.data.copy_(levels * scale)
            data += levels.to(torch.int8).numpy().tobytes() + scale.numpy().tobytes()
        else:
            data += p.detach().numpy().tobytes()
    return rounded, len(lzma.compress(data))


def test_a_recurrent_network_is_smaller_than_rounding_by_row_at_equal_error():
    network = trained_recurrent()
    generator = torch.Generator().manual_seed(1)
    x, held_out = (torch.randn(n, 8, 6, generator=generator) for n in (512, 2000))
    with torch.no_grad():
        wanted = network(held_out)

        def error(other):
            return float((other(held_out) - wanted).norm() / wanted.norm())

        rounded, size = by_row(network, 4)
        quantise = szilard.compression.Quantise()
        passes = [quantise, szilard.compression.Correct(), szilard.compression.QuantiseVectors(quantise)]
        made = [
            szilard.compress(network, x, lam=10.0**power, passes=passes) for power in (-8, -7, -6, -5, -4)
        ]
        errors = [error(one.network) for one in made]
        assert errors == sorted(errors)
        assert [len(one.data) for one in made] == sorted([len(one.data) for one in made], reverse=True)
        good = [len(one.data) for one, e in zip(made, errors, strict=True) if e <= error(rounded)]
        assert min(good) < 0.75 * size
