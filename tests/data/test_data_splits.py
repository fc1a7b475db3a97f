"""Splits are disjoint, complete, stratified, and determined by the seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.data.splits import split_indices, subset
from szilard.errors import SzilardError


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    fractions=st.sampled_from([(1 / 6,), (0.15, 0.15), (0.2, 0.2)]),
    seed=st.integers(0, 5),
)
def test_parts_are_disjoint_complete_and_stratified(sizes, fractions, seed):
    y = torch.cat([torch.full((n,), label) for label, n in enumerate(sizes)])
    if len(y) < 10:
        return
    parts = split_indices(y, fractions, seed, stratify=True)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(len(y)))
    for part, fraction in zip(parts[1:], fractions, strict=True):
        assert len(part) == round(len(y) * fraction)
        for label, n in enumerate(sizes):
            assert abs(int((y[part] == label).sum()) - n * len(part) / len(y)) < 2
    assert set(y[parts[0]].tolist()) == set(
        range(len(sizes))
    )  # even a class with one example is in the training part


def test_another_seed_gives_another_split():
    y = torch.arange(100) % 10
    assert torch.equal(
        split_indices(y, (0.2,), 0, stratify=True)[1], split_indices(y, (0.2,), 0, stratify=True)[1]
    )
    assert not torch.equal(
        split_indices(y, (0.2,), 0, stratify=True)[1], split_indices(y, (0.2,), 1, stratify=True)[1]
    )


def test_a_subset_is_balanced_as_far_as_rare_classes_allow():
    y = torch.tensor([0] * 50 + [1] * 50 + [2] * 4)
    assert y[subset(y, 12, 0, balanced=True)].bincount().tolist() == [4, 4, 4]
    assert sorted(y[subset(y, 24, 0, balanced=True)].bincount().tolist()) == [4, 10, 10]


def test_a_smaller_subset_is_part_of_a_larger_one():
    y = torch.arange(1000) % 10
    small, large = (set(subset(y, n, 7, balanced=True).tolist()) for n in (100, 300))
    assert len(small) == 100
    assert small < large


def test_too_few_examples_are_refused():
    with pytest.raises(SzilardError, match="3 examples are too few for 3 parts; give at least 4"):
        split_indices(torch.zeros(3), (0.15, 0.15), 0, stratify=False)
    assert [len(part) for part in split_indices(torch.zeros(4), (0.15, 0.15), 0, stratify=False)] == [2, 1, 1]


@pytest.mark.parametrize("n", [0, -1, 11])
def test_n_train_must_be_in_range(n):
    with pytest.raises(SzilardError, match="n_train must be between 1 and 10"):
        subset(torch.zeros(10), n, 0, balanced=False)
