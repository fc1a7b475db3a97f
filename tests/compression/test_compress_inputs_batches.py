"""Batches of any lengths and sizes are interpreted in the same way."""

from __future__ import annotations

import pytest
import torch
from compressed_inputs import SIZE, A, B, compressed, cosine, made, reopened
from odd_batches import (
    Encoding,
    Maybe,
    TimeFirst,
    Two,
    Words,
    sentences,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import szilard
from szilard.errors import SzilardError


def test_a_data_loader_gives_the_same_file_as_its_tensor():
    network = made(nn.Linear, in_features=12, out_features=4)
    loader = DataLoader(TensorDataset(A), batch_size=32)
    assert compressed(network, loader).data == compressed(network, A).data


@pytest.mark.parametrize("mapping", [dict, Encoding])
def test_batches_of_different_lengths(mapping, tmp_path):
    network = made(Words)
    batches, truth = [], []
    for ids, mask in sentences():
        with torch.no_grad():
            y = network(input_ids=ids, attention_mask=mask).logits.argmax(1)
        truth.append(y)
        batches.append(mapping(input_ids=ids, attention_mask=mask, labels=y, idx=torch.arange(len(ids))))
    small = compressed(network, batches)
    fresh = reopened(network, small, tmp_path)
    right = []
    for (ids, mask), y in zip(sentences(), truth, strict=True):
        with torch.no_grad():
            right.append(fresh(input_ids=ids, attention_mask=mask).logits.argmax(1) == y)
    assert small.score == pytest.approx(float(torch.cat(right).double().mean()))
    assert any("by name (input_ids, attention_mask" in note for note in small.notes)


def test_examples_in_the_second_dimension(tmp_path):
    network = made(TimeFirst)
    batches = list(torch.randn(7, 200, 12, generator=torch.Generator().manual_seed(0)).split(20, dim=1))
    small = compressed(network, batches, task="embedding")
    fresh = reopened(network, small, tmp_path)
    last = torch.cat(batches[-2:], 1)  # the last 2 whole batches are judged
    with torch.no_grad():
        assert small.score == pytest.approx(cosine(fresh(last), network(last)), abs=1e-6)


def test_a_mask_for_all_examples_is_not_split():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x, mask):
            return self.layer(x, mask)

    x = torch.randn(96, 16, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.full((16, 16), -torch.inf).triu(1)
    small = compressed(made(Masked), [(one, mask) for one in x.split(16)], lam=1e-9)
    assert small.score > 0.999


def test_batches_sorted_by_length_are_not_mixed():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(12, 8, batch_first=True), nn.Linear(8, 4)

        def forward(self, x, lengths):
            packed = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True
            )  # requires decreasing lengths
            return self.head(self.rnn(packed)[1][-1])

    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(10):
        lengths = torch.randint(1, 7, (16,), generator=generator).sort(descending=True).values
        batches.append((torch.randn(16, 6, 12, generator=generator), lengths))
    assert compressed(made(Packed), batches, lam=1e-9).score > 0.999


def test_shrink_takes_batches_of_any_structure():
    network = made(Two)
    with torch.no_grad():
        for layer in (network.a, network.b):
            layer.weight[::2] = 0
            layer.bias[::2] = 0
    small = szilard.compression.shrink(network, {"a": A[:8], "b": B[:8]})
    with torch.no_grad():
        assert torch.allclose(small(A, B), network(A, B), atol=1e-5)


@pytest.mark.parametrize("size", [1, 50, 80])
def test_a_network_with_a_fixed_batch_size(size):
    class Fixed(nn.Linear):
        def forward(self, x):
            return super().forward(x.reshape(size, 12))

    small = compressed(made(Fixed, in_features=12, out_features=4), A.split(size), lam=1e-9)
    assert small.score > 0.999


@pytest.mark.parametrize("size", [1, 3, 50])
def test_small_batches_are_interpreted_together(size):
    network = made(Maybe)
    with torch.no_grad():
        y = network(A).argmax(1)
    assert compressed(network, list(zip(A.split(size), y.split(size), strict=True))).task.startswith("class")
    few = compressed(network, list(zip(A.split(size), B.split(size), strict=True)), lam=1e-9)
    assert few.task.startswith("regression")


def test_too_few_examples_to_interpret_are_refused():
    with pytest.raises(SzilardError, match="may be labels or the network's b, and 5 examples are too few"):
        szilard.compress(made(Maybe), [(A[:5], B[:5])])


def test_outputs_that_depend_on_the_batch(tmp_path):
    class Centred(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y - y.mean(0)

    network = made(Centred, in_features=12, out_features=4)
    batches = A.split(SIZE)
    small = compressed(network, batches, task="embedding")
    fresh = reopened(network, small, tmp_path)
    with torch.no_grad():
        score = sum(cosine(fresh(x), network(x)) for x in batches[8:]) / 2  # the last 2 batches are judged
    assert small.score == pytest.approx(score, abs=1e-6)
