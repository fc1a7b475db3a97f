"""Curvature from gradients of rare tokens, of few samples, of NaN gradients, of scripts and of recurrent networks."""

from __future__ import annotations

import copy
import lzma

import pytest
import torch
from headed import Head, last, sequences
from torch import nn
from torch.nn import functional as F

import szilard
from szilard.compression import curvatures, default_passes
from szilard.compression.gradient_curvature import Squares
from szilard.errors import SzilardError, SzilardWarning
from szilard.likelihood import Gaussian


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
