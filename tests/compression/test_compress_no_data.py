"""Without data: how much noise each weight may take, from its values alone."""

import math
import warnings
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import szilard
from szilard.compression.no_data import COARSER, TAIL, shares, sizes, typical, without_data
from szilard.compression.no_data_comparison import relative_difference


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def size(matrix: torch.Tensor) -> torch.Tensor:
    return typical(matrix, (sizes(matrix)[0] / matrix.shape[1]).sqrt())


def test_the_size_of_normal_rows_is_their_standard_deviation() -> None:
    deviations = torch.tensor([0.1, 1.0, 30.0])
    found = size(normal(3, 20_000) * deviations[:, None])
    assert torch.allclose(found.float(), deviations, rtol=0.03)


def test_an_outlier_does_not_change_the_size_of_its_row() -> None:
    plain = normal(40, 401)
    with_outlier = plain.clone()
    with_outlier[7, 3] = 1e4
    assert float(size(with_outlier)[7]) == pytest.approx(float(size(plain)[7]), rel=0.2)


def test_zeros_are_ignored() -> None:
    weight = normal(4, 400)
    pruned = torch.cat([weight, torch.zeros(4, 3600)], 1)
    # The size of the nonzero entries is limited to the root mean square of the row.
    rms = pruned.double().square().mean(1).sqrt()
    assert torch.allclose(size(pruned), rms, rtol=0.05)


def test_heavy_tailed_rows_have_at_least_half_the_minimum_size() -> None:
    weight = 1e-6 * normal(30, 500)
    weight[:, :25] = normal(30, 25, seed=1)
    rms = weight.double().square().mean(1).sqrt()
    assert bool((size(weight) >= 0.5 * TAIL * rms).all())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_sizes_scale_with_weights(rows: int, cols: int, factor: float, seed: int) -> None:
    weight = normal(rows, cols, seed=seed).double() ** 3
    rms = weight.square().mean(1).sqrt()
    found = size(weight)
    assert bool((found <= rms * (1 + 1e-9)).all())
    assert bool((found > 0).all())
    assert torch.allclose(size(factor * weight), factor * found, rtol=1e-6)
    for share in (None, 0.3):
        inputs, outputs = without_data(factor * weight, share)
        other = without_data(weight, share)[1]
        assert inputs.shape == (1, cols)
        assert torch.allclose(
            outputs * factor**2, other, rtol=1e-6
        )  # the loss depends on relative noise only


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=30))
def test_shares_lie_between_equal_and_proportional_ones(counts: list[int]) -> None:
    found = shares({str(i): count for i, count in enumerate(counts)})
    for i, count in enumerate(counts):
        assert found[str(i)] >= count / sum(counts) / COARSER
        for j, other in enumerate(counts):
            if count >= other:  # a larger tensor may lose more in total, but not more per entry
                assert found[str(i)] >= found[str(j)]
                assert found[str(i)] / count <= found[str(j)] / other * (1 + 1e-9)


def test_without_entries_there_is_no_share() -> None:
    assert shares({"a": 0}) == {"a": 0.0}
    assert shares({"a": 0, "b": 9}) == {"a": 0.0, "b": 1.0}


def heavy(kind: str) -> nn.Module:
    """A network with some weights far larger than others, which multiply inputs that are nearly zero."""
    network = nn.Sequential(nn.Linear(40, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 8))
    with torch.no_grad():
        for i, layer in enumerate(m for m in network if isinstance(m, nn.Linear)):
            layer.weight.copy_(normal(*layer.weight.shape, seed=i) / layer.in_features**0.5)
            layer.bias.copy_(0.1 * normal(len(layer.bias), seed=9 + i))
            if kind == "entries":
                layer.weight.copy_(layer.weight * (0.7 * normal(*layer.weight.shape, seed=20 + i)).exp())
        if kind == "columns":
            network[0].weight[::4, 30:] *= 300
    return network.eval()


def inputs(kind: str) -> torch.Tensor:
    x = normal(200, 40, seed=5)
    if kind == "columns":
        x[:, 30:] /= 300
    return x


def deflated(network: nn.Module, bits: int) -> int:
    """Round each row of the matrices to ``bits`` bits and vectors to float16; the size after deflate, bytes."""
    parts = []
    with torch.no_grad():
        for p in network.parameters():
            if p.dim() == 1:
                p.copy_(p.half())
                parts.append(p.half().numpy().tobytes())
                continue
            step = p.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
            levels = (p / step).round()
            p.copy_(levels * step)
            octets = levels.int().numpy().astype(">i4").view("uint8").reshape(-1, 4)
            parts += [step.numpy().tobytes(), *(octets[:, i].tobytes() for i in range(4))]
    return len(zlib.compress(b"".join(parts), 9))


@pytest.mark.parametrize("kind", ["plain", "entries", "columns"])
def test_never_worse_than_rounding_by_row(kind: str) -> None:
    """The file is smaller than deflated row-wise rounding with at least 8 bits, wherever that is no less accurate."""
    network, x = heavy(kind), inputs(kind)
    with torch.no_grad():
        wanted = network(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = szilard.compress(network, progress=False)

    def error(other: nn.Module) -> float:
        with torch.no_grad():
            return float((other(x) - wanted).norm() / wanted.norm())

    achieved, compared = error(made.network), 0
    assert achieved < 0.03
    for bits in range(8, 17):
        rounded = heavy(kind)
        size = deflated(rounded, bits)
        if error(rounded) <= achieved:
            compared += 1
            assert len(made.data) < size
    assert compared


def test_a_nearly_constant_output_does_not_dominate_an_embedding() -> None:
    class Answers(nn.Module):
        def __init__(self, shift: float, outputs: int) -> None:
            super().__init__()
            self.layer = nn.Linear(3, outputs)
            self.shift = shift
            with torch.no_grad():
                self.layer.weight.copy_(normal(outputs, 3))
                self.layer.weight[0] *= 1e-4
                self.layer.bias.zero_()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer = self.layer(x)
            return torch.cat([answer[:, :1] + self.shift * x[:, :1], answer[:, 1:]], 1)

    def share(outputs: int) -> float:
        found = relative_difference(Answers(0.0, outputs), Answers(1e-4, outputs), lambda net, x: net(x))
        assert found is not None
        return found

    assert share(64) < 1e-3  # 64 outputs: an embedding
    assert share(4) > 0.1  # 4 outputs: quantities in different units
    assert math.isfinite(share(17))


def test_audio_without_a_channel_dimension_is_inferred() -> None:
    class Sound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(1, 4, 400, 200)

        def forward(self, wave: torch.Tensor) -> torch.Tensor:
            if wave.dim() != 2:
                raise ValueError(f"[batch, samples] is wanted, not {list(wave.shape)}")
            return self.layer(wave[:, None]).amax(2)

    made = szilard.compress(Sound().eval(), progress=False)
    assert any("outputs on random inputs differ by" in note for note in made.notes)
