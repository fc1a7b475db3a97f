"""Choices that fit the target, the temperature, uniform policies: against known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from policies import toy
from szilard import SzilardError
from szilard.compression.policies.budget import cheapest, fitted, with_option
from szilard.compression.policies.cost_memo import with_memo
from szilard.compression.policies.problem import Problem, Trial
from szilard.compression.policies.seeded import seeded
from szilard.compression.policies.space import Decision, Space
from szilard.compression.policies.temperature import best, temperature
from szilard.compression.policies.uniform import uniform


def space(sizes: list[int]) -> Space:
    return Space(
        tuple(Decision(f"l{i}", "channels", (f"l{i}",), tuple(range(n, 0, -1))) for i, n in enumerate(sizes)),
        {},
    )


def table_problem(tables: list[list[float]], target: float) -> Problem:
    """A problem whose cost is a sum of table entries, as a share of the first ones."""
    whole = sum(row[0] for row in tables)
    zeros = [[0.0] * len(row) for row in tables]
    return Problem(
        space([len(row) for row in tables]),
        zeros,
        lambda choice: sum(row[option] for row, option in zip(tables, choice, strict=True)) / whole,
        target,
    )


TABLES = st.lists(st.lists(st.floats(0.01, 1), min_size=1, max_size=5), min_size=1, max_size=5)


@given(TABLES, st.floats(0.05, 1.2), st.randoms(use_true_random=False), st.integers(0, 1000))
def test_a_fitted_choice_meets_the_target_whatever_the_costs(tables, target, random, seed):
    """Costs are not even falling."""
    problem = table_problem(tables, target)
    start = tuple(random.randrange(len(row)) for row in tables)
    least = sum(map(min, tables)) / sum(row[0] for row in tables)
    try:
        found = fitted(problem, start, np.random.default_rng(seed))
    except SzilardError:
        assert least > target * (1 - 1e-9)  # coordinate descent finds the least sum of a table
        return
    assert problem.cost(found) <= target
    for place, option in enumerate(found):  # the budget is used
        for earlier in range(option):
            assert problem.cost(with_option(found, place, earlier)) > target


@given(TABLES, st.floats(0.1, 0.9), st.integers(0, 1000))
def test_a_fitted_choice_depends_on_the_generator_alone(tables, target, seed):
    problem = table_problem(tables, target)
    assume(sum(map(min, tables)) / sum(row[0] for row in tables) < target * 0.999)
    first = fitted(problem, problem.space.original, np.random.default_rng(seed))
    assert first == fitted(with_memo(problem), problem.space.original, np.random.default_rng(seed))


def test_fitting_prefers_no_decision():
    """Two equal decisions of which one must move: each does in half of the cases."""
    problem = table_problem([[1.0, 0.5], [1.0, 0.5]], 0.8)
    found = [fitted(problem, (0, 0), seeded(0, trial)) for trial in range(200)]
    assert set(found) == {(0, 1), (1, 0)}
    assert 70 < found.count((0, 1)) < 130


def test_an_option_that_costs_more_than_the_one_before_does_not_stop_the_search():
    problem = table_problem([[1.0, 0.3, 0.35], [1.0, 0.9, 0.95]], 0.605)
    assert problem.cost(problem.space.smallest) > problem.target
    assert cheapest(problem) == (1, 1)
    assert fitted(problem, (0, 0), seeded(0, 0)) == (1, 1)


def test_a_target_below_the_smallest_policy_says_what_can_be_reached():
    problem = table_problem([[1.0, 0.4112]], 0.2)
    with pytest.raises(
        SzilardError, match=r"target 0\.2 is below .* \(0\.412\); give a target of at least 0\.412"
    ):
        fitted(problem, (0,), seeded(0, 0))
    assert fitted(table_problem([[1.0, 0.4112]], 0.412), (0,), seeded(0, 0)) == (1,)
    for target in (math.nan, -1.0, math.inf):
        with pytest.raises(SzilardError, match="must be a positive number"):
            cheapest(table_problem([[1.0, 0.5]], target))


def trials(points: list[tuple[float, float]]) -> list[Trial]:
    return [Trial((number,), kl, cost) for number, (cost, kl) in enumerate(points)]


def test_the_temperature_is_the_slope_across_the_target():
    points = trials([(1.0, 0.0), (0.6, 0.1), (0.4, 0.3), (0.5, 0.9), (0.2, 2.0)])
    assert temperature(points, 0.5) == pytest.approx((0.3 - 0.1) / (0.6 - 0.4))
    assert temperature(points, 0.6) == pytest.approx(0.1 / 0.4)
    assert temperature(points, 0.3) == pytest.approx(1.7 / 0.2)
    assert temperature(points, 1.0) == 0
    assert temperature(points, 0.1) == math.inf
    assert temperature(trials([(0.5, 0.2), (1.0, 0.2)]), 0.6) == 0
    assert temperature([*points, Trial((9,), math.nan, 0.1), Trial((9,), math.inf, 0.1)], 0.1) == math.inf


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), min_size=1, max_size=8), st.integers(1, 20)
)
def test_just_above_the_temperature_the_lowest_f_meets_the_target_and_just_below_it_does_not(points, target):
    made = trials([(float(cost), float(kl)) for cost, kl in points])
    t = temperature(made, target)
    if math.isinf(t):
        assert min(trial.cost for trial in made) > target
        return

    def lowest(at: float) -> float:
        return min((trial.kl + at * trial.cost, trial.cost) for trial in made)[1]

    assert lowest(t * (1 + 1e-9) + 1e-9) <= target  # slopes of these points differ by more
    if t > 0:
        assert lowest(t * (1 - 1e-6)) > target


def test_the_best_trial_counts_measured_costs():
    kept = [
        Trial((0,), 0.1, 0.39, measured=0.42),
        Trial((1,), 0.3, 0.41, measured=0.4),
        Trial((2,), 0.2, 0.4),
    ]
    assert best(kept, 0.4).choice == (2,)
    assert best(kept[:2], 0.4).choice == (1,)
    assert best([*kept, Trial((3,), 0.2, 0.3), Trial((4,), math.nan, 0.1)], 0.4).choice == (3,)
    with pytest.raises(SzilardError, match=r"no trial costs at most 0\.2 \(the cheapest costs 0\.4\)"):
        best(kept, 0.2)
    with pytest.raises(SzilardError, match="there is none"):
        best([], 0.2)


def test_uniform_policies_keep_the_largest_share_that_fits():
    problem = toy.toy().problem
    plain, int8 = uniform(problem)
    for choice, bits in ((plain, 0), (int8, 1)):
        assert choice[0] == choice[1]
        assert choice[2] == bits
        assert toy.cost(choice) <= problem.target < toy.cost((choice[0] - 1, choice[1] - 1, bits))
    only_bits = Problem(
        Space(toy.SPACE.decisions[2:], {}), [[0, 1, 2, 3]], lambda choice: 1.0 - choice[0] / 4, 0.8
    )
    assert uniform(only_bits) == [(0,), (1,)]


def test_the_toy_knows_its_optimum_and_the_sum_of_single_kls_does_not():
    one = toy.toy()
    sensitivity = one.problem.sensitivity
    fits = [
        choice
        for choice in itertools.product(*(range(len(row)) for row in sensitivity))
        if toy.cost(choice) <= one.problem.target
    ]
    assert all(toy.kl(one.optimum) <= toy.kl(choice) for choice in fits)
    summed = min(fits, key=lambda choice: sum(row[o] for row, o in zip(sensitivity, choice, strict=True)))
    assert toy.kl(summed) > toy.kl(one.optimum)
