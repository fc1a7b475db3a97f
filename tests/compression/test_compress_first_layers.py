"""The first layers, whose weights tell the units of the inputs, are found."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from units_of_inputs import FEATURES, UNITS, normal

import szilard
from szilard.compression.raw_units import raw_units, sizes_of_inputs
from szilard.errors import SzilardError


def test_one_feature_in_another_unit():
    weight = normal(16, 40)
    weight[:, 3] /= 5e4
    sizes = sizes_of_inputs(weight)
    assert sizes is not None
    others = torch.cat([sizes[:3], sizes[4:]])
    assert bool((others == others[0]).all())
    assert float(sizes[3] / others[0]) == pytest.approx(5e4, rel=0.5)


def test_columns_that_decayed_to_zero_give_no_units():
    weight = normal(16, 60)
    weight[:, ::3] *= 1e-12  # 20 of them
    assert sizes_of_inputs(weight) is None
    assert sizes_of_inputs(normal(16, 60)) is None
    assert sizes_of_inputs(torch.zeros(3, 5)) is None


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 99))
def test_sizes_are_inverse_to_weights(factor: float, seed: int) -> None:
    weight = normal(8, FEATURES, seed=seed) / UNITS
    one, other = sizes_of_inputs(weight), sizes_of_inputs(weight * factor)
    assert one is not None
    assert other is not None
    assert torch.allclose(one, other * factor, rtol=1e-4)


class Towers(nn.Module):
    """Two first layers read parts of the input; a third reads their outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(4, 8)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat([self.a(x[:, :6]), self.b(x[:, 6:])], 1).relu())


class Sequences(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0].mean(1))


class Channels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(FEATURES, 12, 3, padding=1)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean(2))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(FEATURES, 8), nn.Linear(7, 8)
        self.last = nn.Linear(16, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.last(torch.cat([self.a(a), self.b(b)], 1).relu())


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_first_layers_are_found(dtype):
    towers = Towers()
    towers.a.weight.div_(UNITS[:6])
    towers.b.weight.div_(100 * UNITS[6:] ** 2)
    towers.last.weight[:, ::2] *= 1e-3  # not a first layer
    found = raw_units(towers.to(dtype).eval())
    assert set(found.columns) == {"a.weight", "b.weight"}
    assert found.scale is not None
    assert torch.equal(found.scale, torch.cat([found.columns["a.weight"], found.columns["b.weight"]]))


@torch.no_grad()
def test_first_layers_of_sequences_channels_and_two_inputs():
    sequences = Sequences()
    for weight in (sequences.rnn.weight_ih_l0, sequences.rnn.weight_ih_l0_reverse):
        weight.div_(UNITS)
    found = raw_units(sequences.eval())
    assert set(found.columns) == {"rnn.weight_ih_l0", "rnn.weight_ih_l0_reverse"}
    assert found.scale is not None
    assert bool((found.scale == found.columns["rnn.weight_ih_l0"]).all())

    channels = Channels()
    channels.conv.weight.div_(UNITS[:, None])
    found = raw_units(channels.eval())
    assert found.scale is not None
    assert found.columns["conv.weight"].shape == (FEATURES * 3,)
    assert torch.equal(found.scale[:, 5].repeat_interleave(3), found.columns["conv.weight"])

    two = Two()
    two.a.weight.div_(UNITS)
    two.b.weight.div_(UNITS[:7])
    found = raw_units(two.eval())
    assert set(found.columns) == {"a.weight", "b.weight"}
    assert found.scale is None


def test_parts_of_a_batch_given_as_batches_are_refused_with_advice():
    a, b = normal(80, FEATURES), normal(80, 7, seed=1)
    with pytest.raises(SzilardError, match=r"give \[\(A, B\)\] if the 2 tensors are parts of one batch"):
        szilard.compress(Two(), [a, a], progress=False)
    made = szilard.compress(Two(), [(a, b)], max_bytes=3000, progress=False)
    assert made.data
