"""The computations of benchmarks/solve.py, against answers that are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from solving import (
    ablation,
    classical,
    clocks,
    curves,
    events,
    judging,
    lasso,
    libraries,
    problems,
    tails,
    time_shares,
    timed,
)
from solving.contestants import Contestant
from szilard.solve import FISTA, ISTA, OMP, CodePrior, HyperLISTA

SMALL = replace(problems.QUICK, judged=16, repeats=1)


@pytest.fixture(scope="module")
def known() -> problems.Problem:
    return problems.problem(problems.gaussian(40, 80, 0), 16, 0, prior=CodePrior(0.05))


def test_errors_are_of_the_sums_and_of_samples():
    truth = torch.tensor([[1.0, 0.0], [0.0, 10.0], [3.0, 4.0]])
    off = torch.tensor([[0.1, 0.0], [0.0, 0.01], [0.0, 0.0]])
    found = judging.judged(truth + off, truth)
    assert found["ratio_db"] == pytest.approx(10 * math.log10((0.01 + 0.0001) / 126), abs=1e-4)
    assert found["median_db"] == pytest.approx(-60, abs=1e-3)
    assert found["mean_db"] == pytest.approx(
        (-20 - 60 - 320) / 3, abs=1e-3
    )  # an exact sample counts as -320 dB
    assert (found["lost"], found["samples"]) == (1, 3)


def test_an_answer_that_is_not_finite_is_not_recovered():
    found = judging.judged(torch.tensor([[math.nan, 0.0]]), torch.tensor([[1.0, 0.0]]))
    assert found["lost"] == 1


def test_the_first_layer_below_counts_from_one():
    assert judging.first_below([-3.0, -39.9, -40.0, -50.0]) == 3
    assert judging.first_below([-3.0]) is None


def test_layers_are_kept_densely_at_first_and_the_last_always():
    assert curves.kept_layers(7) == [1, 2, 3, 4, 5, 6, 7]
    kept = curves.kept_layers(2000)
    assert kept[:17] == [*range(1, 17), 18]
    assert kept[-1] == 2000
    assert kept == sorted(set(kept))
    assert len(kept) < 70


def test_ratios_are_medians_over_turns():
    assert clocks.ratio({"a": [2.0, 30.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == 2.0


def test_calls_take_turns():
    order: list[str] = []
    found = clocks.in_turns({name: lambda name=name: order.append(name) for name in "ab"}, 2)
    assert "".join(order) == "ababab"
    assert [len(values) for values in found.values()] == [2, 2]


@pytest.mark.parametrize("make", [problems.gaussian, problems.subsampled_dct, problems.correlated])
def test_matrices_have_columns_of_unit_norm(make):
    A = make(30, 60, 3)
    assert A.shape == (30, 60)
    assert torch.allclose(A.norm(dim=0), torch.ones(60, dtype=torch.float64))
    assert torch.equal(A, make(30, 60, 3))


def test_neighbouring_columns_of_the_correlated_matrix_are_correlated():
    A = problems.correlated(4000, 12, 0)
    products = A.t() @ A
    assert products.diagonal(1).mean() == pytest.approx(0.5, abs=0.03)
    assert products.diagonal(2).mean() == pytest.approx(0.25, abs=0.03)


def test_rows_of_the_transform_are_orthogonal_and_have_no_mean():
    A = problems.subsampled_dct(20, 64, 1)
    assert abs(problems.subsampled_dct(63, 64, 1).sum(1)).max() < 1  # all but the constant row
    gram = A @ A.t()
    off = gram - gram.diag().diag()
    assert off.abs().max() < 0.5 * gram.diagonal().min()


def test_a_perturbed_matrix_is_off_by_its_share():
    A = problems.gaussian(30, 60, 0)
    assert (problems.perturbed(A, 0.01, 0) - A).norm() == pytest.approx(0.01 * float(A.norm()))


def test_problems_are_the_same_in_both_precisions(known):
    wide = problems.problem(problems.gaussian(40, 80, 0), 16, 0, prior=CodePrior(0.05), dtype=torch.float64)
    assert torch.equal(wide.x.float(), known.x)
    assert torch.equal(wide.b.float(), known.b)
    assert torch.allclose(wide.x @ wide.A.t(), wide.b)
    assert len(known.first(5).b) == 5


def test_layers_to_a_goal_are_those_of_the_errors(known):
    solver = FISTA(known.A, 0.003)
    layers = classical.layers_to(solver, known, 400)
    assert layers is not None
    by_call = [
        judging.judged(solver(known.b, layers=count).x, known.x)["ratio_db"] for count in (layers - 1, layers)
    ]
    assert by_call[0] > judging.RECOVERED_DB >= by_call[1]
    assert classical.layers_to(solver, known, layers - 1) is None


def test_the_best_penalty_needs_the_fewest_iterations(known):
    best = classical.over_penalties(FISTA, known, (0.002, 0.004, 0.2))
    others = [classical.layers_to(FISTA(known.A, penalty), known, 600) for penalty in (0.002, 0.004, 0.2)]
    assert best is not None
    assert others[2] is None  # too biased
    assert best.layers == min(others[:2])
    assert best.setting == f"λ = {best.solver.penalty:g}"


def test_a_goal_that_nothing_reaches_has_no_winner(known, monkeypatch):
    monkeypatch.setattr(classical, "_MOST", 100)
    assert classical.over_penalties(ISTA, known, (0.5,)) is None


def test_omp_is_exact_and_its_loosest_tolerance_reaches_the_goal(known):
    exact = classical.omp_exact(known)
    assert judging.judged(exact.solver(known.b).x, known.x)["ratio_db"] < -90
    loose = classical.omp(known)
    assert loose is not None
    assert loose.layers <= exact.layers
    assert judging.judged(loose.solver(known.b).x, known.x)["ratio_db"] <= -40


def test_fista_after_16_iterations_has_the_best_penalty(known):
    solver, setting = classical.best_after(known, 16, FISTA, (0.01, 0.05, 1.0))
    errors = {
        penalty: judging.judged(FISTA(known.A, penalty)(known.b, layers=16).x, known.x)["ratio_db"]
        for penalty in (0.01, 0.05, 1.0)
    }
    assert setting == f"λ = {min(errors, key=errors.__getitem__):g}"
    assert solver.penalty == min(errors, key=errors.__getitem__)


@pytest.mark.parametrize(("name", "place"), ablation.WITHOUT.items())
def test_a_number_that_is_left_out_stays_zero_and_the_others_get_better(known, name, place, monkeypatch):
    monkeypatch.setattr(ablation, "_CANDIDATES", 12)
    start = (3.0, 0.8, 1.0)
    found = ablation.searched(known, start, place, 8, 0)
    assert found[place] == 0, name
    zeroed = tuple(0.0 if index == place else value for index, value in enumerate(start))
    errors = [
        judging.judged(HyperLISTA(known.A, 8, numbers)(known.b).x, known.x)["ratio_db"]
        for numbers in (found, zeroed)
    ]
    assert errors[0] <= errors[1]


def test_errors_and_seconds_are_of_the_layers_kept(known):
    one = Contestant("FISTA", FISTA(known.A, 0.005), 30, "λ = 0.005")
    found = curves.errors(one, known)
    kept = curves.kept_layers(30)
    assert len(found["ratio_db"]) == len(kept)
    last = judging.judged(one.solver(known.b, layers=30).x, known.x)
    assert found["ratio_db"][-1] == pytest.approx(last["ratio_db"], abs=1e-3)
    marks = curves.seconds([one], known, SMALL)["FISTA"]
    assert len(marks) == len(kept)
    assert marks == sorted(marks)


def test_operators_are_recorded_and_work_as_before(known):
    solver = HyperLISTA(known.A)
    calls = time_shares.recorded(solver, known, 5)
    assert {name: len(made) for name, made in calls.items()} == {
        "shrink": 5, "product": 5, "weighted_norm": 5, "adjoint": 5,
    }  # fmt: skip
    assert torch.equal(calls["adjoint"][0][0], -known.b)
    again = time_shares.recorded(solver, known, 5)
    assert len(again["shrink"]) == 5  # nothing is still patched


def test_events_have_the_same_number_of_entries():
    x = events.codes(7, 200, 0.02, 0)
    assert (x != 0).sum(1).tolist() == [4] * 7
    assert torch.equal(x, events.codes(7, 200, 0.02, 0))


def test_the_guard_is_judged_on_easy_and_hopeless_codes(monkeypatch):
    chosen = {name: tails.CASES[name] for name in ("density .05", "density .4", "SNR 40 dB")}
    monkeypatch.setattr(tails, "CASES", chosen)
    monkeypatch.setattr(problems, "M", 50)
    monkeypatch.setattr(problems, "N", 100)
    easy, hopeless, noisy = tails.measured(SMALL, 0, (3.9, 0.85, 1.2))
    assert easy["by_support"] == easy["samples"] == SMALL.judged // 4
    assert easy["ratio_db"] < -200
    assert hopeless["by_support"] == 0
    assert hopeless["lost"] == hopeless["samples"]
    assert noisy["by_support"] > 0
    assert [row["false_accepts"] for row in (easy, hopeless, noisy)] == [0, 0, 0]


def test_libraries_minimise_the_same_objective_as_fista():
    known = problems.problem(problems.gaussian(30, 60, 0), 4, 0, dtype=torch.float64)
    found = libraries.lasso("scikit-learn", 0.05, 1e-12)(np.asfortranarray(known.A.numpy()), known.b.numpy())
    theirs = lasso.objective(known.A, known.b, torch.from_numpy(found), 0.05)
    ours = lasso.objective(known.A, known.b, FISTA(known.A, 0.05, 2000)(known.b).x, 0.05)
    assert torch.allclose(ours, theirs, rtol=1e-9)


def test_another_librarys_omp_agrees_with_ours():
    known = problems.problem(problems.gaussian(40, 80, 0), 6, 0, prior=CodePrior(0.05), dtype=torch.float64)
    theirs = libraries.omp(1e-9)(np.asfortranarray(known.A.numpy()), known.b.numpy())
    assert torch.allclose(torch.from_numpy(theirs), OMP(known.A)(known.b).x, atol=1e-8)


def test_the_grid_of_a_library_names_its_settings():
    names = [setting for setting, _ in timed.settings_of("celer")]
    assert len(names) == len(set(names)) == len(timed.PENALTIES) * len(timed.TOLERANCES)
    assert next(setting for setting, _ in timed.settings_of("scikit-learn, OMP")) == "residual 0.1"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_has_the_same_problems_and_errors(known):
    there = problems.problem(problems.gaussian(40, 80, 0), 16, 0, prior=CodePrior(0.05), device="cuda")
    assert torch.equal(there.x.cpu(), known.x)
    found = [
        curves.errors(Contestant("HyperLISTA", HyperLISTA(one.A), 8, ""), one)["ratio_db"]
        for one in (known, there)
    ]
    assert found[0] == pytest.approx(found[1], abs=0.1)
    assert (
        len(curves.seconds([Contestant("ISTA", ISTA(there.A, 0.01), 4, "")], there, SMALL.on("cuda"))["ISTA"])
        == 4
    )
