"""Batches of any structure: splitting, joining, interpretation; and positions that are not padding."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_batches import Any, Batch, Encoding, Maybe, TakesDict, Two, Words
from torch import nn

from szilard.compression.adapt import adapt
from szilard.compression.batches import (
    Whole,
    fit,
    kind,
    leaves,
    length,
    mapped,
    named_leaves,
    rows,
    split,
    together,
)
from szilard.compression.calibration import Calibration
from szilard.compression.outputs import counted
from szilard.compression.positions import Positions, are_next_tokens, next_tokens, sample
from szilard.errors import SzilardError
from szilard.likelihood import Categorical, Gaussian, Part, Several
from szilard.networks.takes import Takes

Pair = namedtuple("Pair", "a b")


def leaf(n):
    return st.one_of(
        st.lists(st.integers(1, 3), max_size=2).map(
            lambda shape: torch.arange(n * torch.Size(shape).numel()).reshape(n, *shape).float()
        ),
        st.just([f"name {number}" for number in range(n)]),
        st.sampled_from([None, True, "a flag", torch.tensor(3.0)]),
    )


@st.composite
def batches(draw):
    n = draw(st.integers(4, 9))
    inside = st.recursive(
        leaf(n),
        lambda deeper: st.one_of(
            st.lists(deeper, min_size=1, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("abc"), deeper, min_size=1, max_size=3),
            st.tuples(deeper, deeper).map(lambda two: Pair(*two)),
            st.tuples(deeper, deeper).map(lambda two: Batch(*two)),
        ),
        max_leaves=5,
    )
    return n, {"first": torch.randn(n, 2), "rest": draw(inside)}


def same(one, other):
    first, second = list(named_leaves(one)), list(named_leaves(other))
    return [path for path, _ in first] == [path for path, _ in second] and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for (_, a), (_, b) in zip(first, second, strict=True)
    )


@settings(max_examples=40, deadline=None)
@given(batches(), st.integers(1, 4))
def test_a_split_batch_is_joined_again(made, size):
    n, batch = made
    parts = split(batch, size)
    assert sum(map(length, parts)) == n == length(batch)
    assert fit(parts)
    assert same(together(parts), batch)
    assert kind(together(parts)) == kind(batch)


@settings(max_examples=30, deadline=None)
@given(batches())
def test_a_copy_shares_no_memory(made):
    _, batch = made
    copied = mapped(batch, torch.clone)
    for t in leaves(copied):
        t.zero_()
    assert same(batch, mapped(batch, lambda t: t))
    assert not same(copied, batch)


def test_rows_by_index():
    batch = {"x": torch.arange(5), "names": list("abcde"), "mask": torch.zeros(3, 3)}
    found = rows(batch, torch.tensor([4, 0]))
    assert found["x"].tolist() == [4, 0]
    assert found["names"] == ["e", "a"]
    assert found["mask"].shape == (3, 3)


def test_a_whole_batch_is_not_split():
    batch = Whole({"x": torch.randn(6, 2)}, 3)
    assert length(batch) == 3
    assert rows(batch, slice(0, 1)) is batch
    assert split(batch, 2) == [batch]
    assert together([batch, batch]) is batch
    assert isinstance(mapped(batch, torch.clone), Whole)


def test_a_mapping_keeps_its_class():
    found = rows(Encoding(input_ids=torch.ones(4, 2)), slice(0, 3))
    assert isinstance(found, Encoding)
    assert found.input_ids.shape == (3, 2)


def test_batches_of_different_lengths_are_not_joined():
    given = [{"ids": torch.ones(300, 4 + n, dtype=torch.long)} for n in range(3)]
    found = Calibration.of(given, examples=400)
    assert [tuple(x["ids"].shape) for x in found.inputs] == [
        *[(64, 4)] * 4, (44, 4), (64, 5), (36, 5),
    ]  # fmt: skip
    assert [tuple(x["ids"].shape) for x in found.judges] == [(200, 5), (256, 6), (44, 6)]


def test_labels_stay_with_their_examples():
    given = [(torch.full((50, 3 + n % 2), float(n)), torch.full((50,), n)) for n in range(20)]
    found = Calibration.of(given, examples=512)
    assert sum(map(length, found.inputs)) == 512
    for x, y in zip(found.judges, found.labels, strict=True):
        assert torch.equal(x[:, 0].long(), y)


class TestTakes:
    def test_names_and_defaults(self):
        found = Takes.of(Maybe())
        assert (found.names, found.required, found.most) == (("a", "b"), 1, 2)
        assert Takes.of(Any()).most == float("inf")
        assert Takes.of(Words()).keywords is None
        assert Takes.of(nn.DataParallel(Two())).needs == {"a", "b"}

    def test_a_script_module(self):
        found = Takes.of(torch.jit.trace(nn.Linear(3, 2), torch.randn(1, 3)))
        assert (found.required, found.most) == (1, 1)


class TestReadings:
    """Whether a part of a batch is an input or labels depends on the network and the examples."""

    x, b = torch.randn(64, 12), torch.randn(64, 5)

    def read(self, network, batch):
        found = adapt(network.eval(), batch)
        return found.reading.call, found.reading.label

    def test_by_required_arguments(self):
        assert self.read(Two(), (self.x, self.b)) == ("several", None)
        assert self.read(nn.Linear(12, 4), (self.x, self.b)) == ("one", 1)
        assert self.read(Two(), (self.x, self.b, torch.zeros(64))) == ("several", 2)

    def test_by_the_examples(self):
        network = Maybe()
        with torch.no_grad():
            y = network(self.x).argmax(1)
        assert self.read(network, (self.x, y)) == ("one", 1)
        assert self.read(network, (self.x, self.b)) == ("several", None)

    def test_a_part_that_the_network_ignores_is_labels(self):
        class Ignores(nn.Linear):
            def forward(self, x, *rest):
                return super().forward(x)

        assert self.read(Ignores(12, 4), (self.x, torch.zeros(64, dtype=torch.long))) == ("one", 1)

    def test_labels_that_forward_requires(self):
        class Requires(nn.Linear):
            def forward(self, x, labels):
                return {"loss": labels.float().mean(), "logits": super().forward(x)}

        labels = torch.zeros(64, dtype=torch.long)
        assert self.read(Requires(12, 4), (self.x, labels)) == ("several", 1)
        assert self.read(Requires(12, 4), {"x": self.x, "labels": labels}) == ("named", "labels")

    def test_a_mapping(self):
        assert self.read(Two(), {"a": self.x, "b": self.b, "y": torch.zeros(64)}) == ("named", "y")
        assert self.read(TakesDict(), {"a": self.x, "b": self.b}) == ("one", None)
        assert self.read(nn.Linear(12, 4), {"picture": self.x, "target": self.b}) == ("values", "target")


def test_the_judged_output():
    rows_, other = torch.randn(6, 3), torch.randn(2, 3)
    assert counted((other, rows_), 6) == (1,)
    assert counted({"ids": torch.ones(6, dtype=torch.long), "h": rows_, "logits": rows_ + 1}, 6) == (
        "logits",
    )
    assert counted({"x": rows_, "y": rows_ + 1}, 6, {"x": rows_}) == ("y",)
    assert counted({"loss": torch.tensor(1.0), "deep": ({"h": rows_},)}, 6) == ("deep", 0, "h")
    assert counted(("no", None), 6) is None


class TestPositions:
    def test_means_over_unmasked_positions(self):
        mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
        found = Positions.that_count(torch.zeros(3, 3, 2), None, mask)
        assert found.examples == 2
        assert found.means(torch.tensor([1.0, 3.0, 5.0], dtype=torch.float64)).tolist() == [2, 5]

    def test_outputs_with_classes_before_positions(self):
        output = torch.arange(2 * 3 * 4.0).reshape(2, 3, 4)
        labels = torch.tensor([[0, -100, 1, 2], [-100, -100, -100, 2]])
        found = Positions.that_count(output, labels, None)
        assert found.of(labels).tolist() == [0, 1, 2, 2]
        assert torch.equal(found.of(output)[1], output[0, :, 2])

    def test_labels_without_any_position_are_refused(self):
        with pytest.raises(SzilardError, match="no position"):
            Positions.that_count(torch.zeros(2, 3, 4), torch.full((2, 3), -100), None)

    def test_next_tokens(self):
        tokens = torch.tensor([[1, 2, 3], [2, 3, 4]])
        assert next_tokens(tokens).tolist() == [[2, 3, -100], [3, 4, -100]]
        following = nn.functional.one_hot(tokens + 1, 6).float()
        assert are_next_tokens({"ids": tokens}, following, tokens)
        assert not are_next_tokens({"ids": tokens}, nn.functional.one_hot(tokens, 6).float(), tokens)
        assert not are_next_tokens({"ids": tokens + 1}, following, tokens)

    def test_a_sample_of_unequal_shapes(self):
        found = sample([torch.ones(2, 3, 4), torch.ones(5, 2, 4)])
        assert found.shape == (7, 2, 4)


class TestSeveral:
    @pytest.mark.parametrize("length", [2, 5])
    def test_joined_parts_are_divided_again(self, length):
        parts = [torch.randn(3, length, 4), torch.randn(3, 2), torch.randn(3)]
        flat = torch.cat([one.reshape(3, -1) for one in parts], 1)
        several = Several(
            [Part(Categorical(last=True), (None, 4)), Part(Gaussian(), (2,)), Part(Gaussian(), ())]
        )
        for made, part in zip(several.divided(flat), parts, strict=True):
            assert torch.equal(made, part)

    def test_the_first_output_is_judged_and_all_have_a_gradient(self):
        several = Several([Part(Categorical(), (3,)), Part(Gaussian(0.1), (2,))])
        output = torch.randn(4000, 5)
        y = torch.randint(3, (4000,))
        assert torch.equal(several.values(output, y), Categorical().values(output[:, :3], y))
        direction = several.direction(output, 1.0, torch.Generator().manual_seed(0))
        assert float(direction[:, 3:].var()) == pytest.approx(100, rel=0.1)
        p = output[:, :3].softmax(1)
        wanted = float((p - p.square()).sum(1).mean())  # trace of diag p - p pᵀ
        assert float(direction[:, :3].square().sum(1).mean()) == pytest.approx(wanted, rel=0.1)

    def test_divergences_add_up(self):
        several = Several([Part(Gaussian(), (3,)), Part(Gaussian(0.5), (2,))])
        one, other = torch.randn(10, 5), torch.randn(10, 5)
        parts = Gaussian().divergence(one[:, :3], other[:, :3]) + Gaussian(0.5).divergence(
            one[:, 3:], other[:, 3:]
        )
        assert float(several.divergence(one, other)) == pytest.approx(float(parts), rel=1e-5)
