"""Budgets that change, and one threshold over all weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.errors import SzilardError
from szilard.topology import CubicBudget, Schedule, largest_of_all


def test_a_cubic_has_its_end_points_and_falls():
    budget = CubicBudget(0.9, 0.1, every=10, begin=0.2, end=0.8)
    densities = [budget.density_at(step, 1000) for step in range(1001)]
    assert densities[0] == densities[200] == pytest.approx(0.9)
    assert densities[800] == densities[1000] == 0.1
    assert densities[500] == pytest.approx(0.1 + 0.8 * 0.5**3)
    assert all(a >= b for a, b in pairwise(densities))


@given(st.integers(1, 50), st.integers(1, 400), st.floats(0, 0.5), st.floats(0.51, 1))
@settings(max_examples=60)
def test_a_budget_changes_until_its_end_and_reaches_it(every, total, begin, end):
    budget = CubicBudget(0.5, 0.1, every, begin, end)
    changes = [step for step in range(1, total + 1) if budget.changes(step, total)]
    assert all(step % every == 0 for step in changes[:-1])
    assert changes
    assert budget.density_at(changes[-1], total) == pytest.approx(0.1)
    assert changes[-1] < end * total + 1


def test_a_schedule_falls_to_its_last_fraction():
    constant, falling = Schedule(10, 0.3, 1.0, last=0.3), Schedule(10, 0.5, 1.0, last=0.1)
    assert all(constant.fraction_at(step, 1000) == pytest.approx(0.3) for step in range(10, 1000, 10))
    assert falling.fraction_at(500, 1000) == pytest.approx(0.3)
    assert falling.fraction_at(990, 1000) == pytest.approx(0.1, abs=1e-3)
    assert falling.fraction_at(1000, 1000) == 0
    with pytest.raises(SzilardError, match="never become larger"):
        Schedule(10, 0.3, 1.0, last=0.4)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1, max_size=5), st.data())
@settings(max_examples=80)
def test_one_threshold_keeps_exactly_the_largest(scores, data):
    tensors = [torch.tensor(score, dtype=torch.float32) for score in scores]
    least = data.draw(st.integers(0, 3))
    floors = [min(least, len(score)) for score in scores]
    total = data.draw(st.integers(sum(floors), sum(map(len, scores))))
    kept = largest_of_all(tensors, total, least)
    assert sum(int(mask.sum()) for mask in kept) == total
    assert all(int(mask.sum()) >= floor for mask, floor in zip(kept, floors, strict=True))
    # Of the entries above a floor, none that is left out is larger than one that is kept.
    for number, (mask, score) in enumerate(zip(kept, tensors, strict=True)):
        if int(mask.sum()) > floors[number]:
            lowest = float(score[mask].min())
            left_out = [float(s[~m].max()) for m, s in zip(kept, tensors, strict=True) if bool((~m).any())]
            assert all(value <= lowest for value in left_out)


def test_ties_go_to_the_first_weight_and_the_lowest_index():
    first, second = largest_of_all([torch.ones(3), torch.ones(4)], 4)
    assert first.tolist() == [True, True, True]
    assert second.tolist() == [True, False, False, False]


@pytest.mark.parametrize("total", [1, 8])
def test_budgets_that_no_threshold_meets_are_refused(total):
    with pytest.raises(SzilardError, match="choose another density"):
        largest_of_all([torch.ones(3), torch.ones(4)], total)


def test_nan_is_refused():
    with pytest.raises(SzilardError, match="NaN"):
        largest_of_all([torch.tensor([1.0, float("nan")])], 1)


@pytest.mark.parametrize(
    "options",
    [
        {"initial": 0.1, "final": 0.2},
        {"initial": 1.2, "final": 0.2},
        {"final": 0.0},
        {"begin": 0.9},
        {"every": 0},
    ],
)
def test_invalid_budgets_are_refused(options):
    with pytest.raises(SzilardError, match=r"densities must fall|a budget needs"):
        CubicBudget(**{"initial": 0.5, "final": 0.1, **options})
