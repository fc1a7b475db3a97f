"""Growth that is not the gradient of a few batches: at random, and by momentum."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.sparse import Support, make_pattern
from szilard.sparse.growth import linear_rows
from szilard.topology import MomentumGrowth, RandomGrowth, drop_and_grow


def generator(seed):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 9), st.integers(1, 9), st.data())
@settings(max_examples=40)
def test_random_entries_are_different_and_free(rows, cols, data):
    taken = data.draw(st.integers(0, rows * cols - 1))
    count = data.draw(st.integers(0, rows * cols - taken))
    seed = data.draw(st.integers(0, 999))
    there = torch.randperm(rows * cols, generator=generator(seed))[:taken].sort().values
    found = RandomGrowth(seed).largest(count, rows, cols, there)
    assert len(found.unique()) == len(found) == count
    assert not set(found.tolist()) & set(there.tolist())
    assert all(0 <= index < rows * cols for index in found.tolist())


def test_random_entries_are_uniform():
    """Each of the 30 free entries is chosen 6 times in 30; 3000 moves, five standard errors."""
    taken = torch.tensor([3, 17, 18, 31, 35, 39])
    counts = torch.zeros(36)
    moves = 3000
    taken = taken[taken < 36]
    free = 36 - len(taken)
    for seed in range(moves):
        counts[RandomGrowth(seed).largest(6, 6, 6, taken)] += 1
    share = 6 / free
    chosen = counts[[i for i in range(36) if i not in set(taken.tolist())]]
    error = (share * (1 - share) / moves) ** 0.5
    assert float((chosen / moves - share).abs().max()) < 5 * error


def test_the_seed_alone_decides():
    taken = torch.arange(10)
    one, same, other = (RandomGrowth(seed).largest(20, 30, 30, taken).sort().values for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("pattern", ["unstructured", "block4", "neuron"])
def test_random_moves_keep_the_budget_of_every_pattern(pattern):
    support = Support.random((16, 24), 96, generator(0), pattern)
    before, entries = support.flat().clone(), support.nnz
    move = drop_and_grow(support, torch.rand(entries, generator=generator(1)), RandomGrowth(5), 0.5)
    support.check()
    assert support.nnz == entries
    assert move.dropped
    assert not torch.equal(before, support.flat())


def test_every_block_is_as_likely():
    """One of three blocks that do not exist replaces the one that does."""
    pattern, moves, counts = make_pattern("block4"), 300, torch.zeros(3)
    for seed in range(moves):
        support = Support.from_flat((4, 16), torch.arange(64).view(4, 16)[:, :4].flatten(), pattern)
        drop_and_grow(support, torch.zeros(16), _Without(RandomGrowth(seed), columns=slice(0, 4)), 1.0)
        counts[int(support.flat()[0]) // 4 - 1] += 1
    assert float((counts / moves - 1 / 3).abs().max()) < 5 * (2 / 9 / moves) ** 0.5


class _Without:
    """Growth that never chooses some columns."""

    def __init__(self, growth, columns):
        self._growth, self._columns = growth, columns

    def __len__(self):
        return 1

    def stream(self, *arguments, **named):
        for rows, scores in self._growth.stream(*arguments, **named):
            scores[:, self._columns] = 0
            yield rows, scores


def test_momentum_is_the_decayed_sum_of_gradients():
    growth = MomentumGrowth(linear_rows, decay=0.5)
    batches = [
        (torch.randn(7, 3, generator=generator(k)), torch.randn(7, 5, generator=generator(9 + k)))
        for k in range(3)
    ]
    expected = torch.zeros(3, 5)
    for step, (grad, x) in enumerate(batches):
        for _ in range(2):  # accumulated in the same step
            growth.begin(step)
            growth.add(grad, x)
        expected = 0.5 * expected + 2 * grad.t() @ x
    ((_, found),) = growth.stream(3, 5, torch.device("cpu"))
    torch.testing.assert_close(found, expected)
