"""Figures, gates and tables of benchmarks/solve.py, from results that are made up."""

from __future__ import annotations

import json
from typing import Any

import pytest

import solve
from pages import solve_blocks
from solving import other_tables, solve_figures, solve_tables


def errors(decibels: float, lost: int = 0) -> dict[str, Any]:
    return {
        "ratio_db": decibels,
        "mean_db": decibels - 10,
        "median_db": decibels - 11,
        "lost": lost,
        "samples": 64,
    }


def curve(method: str, seed: int, slope: float, layers: int = 16, numbers: int = 3) -> dict[str, Any]:
    kept = list(range(1, layers + 1))
    decibels = [slope * layer for layer in kept]
    return {
        "seed": seed, "method": method, "setting": "c = 1, 2, 3", "numbers": numbers, "made_seconds": 9.0,
        "samples": 64, "layers": kept, "ratio_db": decibels, "mean_db": decibels, "median_db": decibels,
        "lost": [64 - layer for layer in kept], "seconds": [0.001 * layer for layer in kept], "c": [1.0, 2.0, 3.0],
    }  # fmt: skip


def time_row(method: str, seed: int, layers: int | None, over: float) -> dict[str, Any]:
    return {
        "seed": seed, "method": method, "setting": "λ = 0.005", "layers": layers, "seconds": 0.01 * over,
        "over_ours": over, "samples_solved": 64, **errors(-41.0, 3),
    }  # fmt: skip


def both(name: str, decibels: float) -> dict[str, Any]:
    return {
        "seed": 0, "case": name, "matrix": name, "fista_setting": "λ = 0.1", "hyperlista": errors(decibels),
        "fista16": errors(-11.0),
    }  # fmt: skip


@pytest.fixture
def found() -> dict[str, Any]:
    slopes = {
        "HyperLISTA": -5.8,
        "HyperLISTA without momentum": -4.0,
        "HyperLISTA without selection": -3.0,
        "ALISTA": -4.5,
    }
    times = {
        "HyperLISTA": (8, 1.0),
        "FISTA": (160, 20.0),
        "FISTA, continuation": (27, 4.5),
        "OMP": (66, 30.0),
        "celer": (None, 40.0),
    }
    machine = {"processor": "P", "cores": "2", "load": "0.1", "torch": "2", "szilard": "0", "kernels": "k"}
    run = {"quick": True, "device": "cpu", "seconds": 60.0, "peers": {"celer": "0.7.4"}, "machine": machine}
    return {
        "runs": {"curves": run},
        "curves": [curve(name, seed, slope + seed) for seed in (0, 1) for name, slope in slopes.items()],
        "times": [time_row(name, seed, *values) for seed in (0, 1) for name, values in times.items()],
        "shares": [{"method": "HyperLISTA", "seconds": 0.02, "layers": 16, "shares": {
            "products": 0.7, "threshold": 0.1, "selection": 0.05, "norm": 0.05, "rest": 0.1}}],
        "lasso": [{"seed": 0, "share": 0.1, "penalty": 0.2, "iterations": 9, "gap": 1e-12, "above": {"celer": 0.0}}],
        "tail": [{"seed": 0, "case": "density .1", "by_support": 60, "by_lasso": 3, "uncertified": 1, "fallback": 4,
                  "false_accepts": 0, "cg_steps": 2, "cg_steps_mean": 1.2, **errors(-200.0)}],
        "shifts": [both("as tuned", -90.0), both("as tuned", -9.0)],
        "matrices": [both("a", -90.0), both("b", -70.0), both(solve_figures.PERTURBED, -40.0)],
        "events": [
            {"atoms": 4096, "measured": 1024, "batch": 256, "share": share, "event_seconds": 1e-3,
             "dense_seconds": 2e-2, "event_vs_dense": ratio, "chosen_vs_dense": ratio, "error": 0.0}
            for share, ratio in ((0.02, 0.1), (0.2, 0.9))
        ],
    }  # fmt: skip


def test_figures_are_those_of_the_worst_seed(found):
    known = solve_figures.figures(found)
    assert known["hyperlista16_db"] == pytest.approx(-4.8 * 16)
    assert known["hyperlista_numbers"] == 3
    assert known["without_momentum_loss_db"] == pytest.approx(1.8 * 16)
    assert known["without_selection_loss_db"] == pytest.approx(2.8 * 16)
    assert known["layers_to_40db"] == 9  # the worse seed: -4.8 dB a layer
    assert known["fista_iterations_to_40db"] == 160
    assert known["fista_time_vs_hyperlista"] == 20
    assert known["shifts_worse_than_fista16"] == 1
    assert known["held_out_matrices_db"] == -70
    assert known["perturbed_a_db"] == -40
    assert known["event_product_vs_dense"] == 0.1
    assert (known["cg_steps"], known["false_accepts"], known["lasso_gap"]) == (2, 0, 1e-12)


def test_what_was_not_measured_is_null():
    known = solve_figures.figures({})
    assert set(known.values()) == {None}
    assert set(solve_figures.GATES) <= set(known)
    json.dumps(known)
    assert solve_figures.missed({}) == []


def test_gates_and_goals_have_a_direction():
    verdict = solve_figures.verdict
    assert verdict("hyperlista16_db", -93.0) == "goal reached"
    assert verdict("hyperlista16_db", -70.0) == "goal not reached"
    assert verdict("hyperlista16_db", -50.0) == "MISSED by 10"
    assert verdict("fista_time_vs_hyperlista", 9.0) == "MISSED by 1"
    assert verdict("hyperlista_numbers", 3.0) == "reached"
    assert verdict("hyperlista_numbers", 4.0) == "MISSED by 1"
    assert verdict("lista_cpss16_db", -30.0) == "goal not reached"  # no gate
    assert verdict("perturbed_a_db", -1.0) == ""


def test_a_missed_gate_comes_with_the_curve_and_the_shares(found):
    found["curves"] = [row for row in found["curves"] if row["method"] != "ALISTA" or row["seed"] == 0]
    lines = solve_figures.missed(found)
    assert "shifts_worse_than_fista16 is 1" in lines[0]
    assert any(line.startswith("HyperLISTA by layer, dB, seed 0: -6 -12") for line in lines)
    assert any("share of time: products 70%" in line for line in lines)
    found["shifts"] = found["shifts"][:1]
    assert solve_figures.missed(found) == []


def test_fista_is_better_if_either_average_is():
    row = {
        "hyperlista": {"ratio_db": -9.0, "mean_db": -50.0},
        "fista16": {"ratio_db": -10.0, "mean_db": -10.0},
    }
    assert solve_figures.worse(row)
    row["hyperlista"]["ratio_db"] = -12.0
    assert not solve_figures.worse(row)


def test_every_table_has_a_cell_for_every_column(found):
    shown = (
        (solve_tables.CURVE_COLUMNS, solve_tables.curve_body),
        (solve_tables.GUIDE_COLUMNS, solve_tables.guide_body),
        (solve_tables.LAYER_COLUMNS, solve_tables.layer_body),
        (solve_tables.RATIO_COLUMNS, solve_tables.ratio_body),
        (solve_tables.TIME_COLUMNS, solve_tables.time_body),
        (solve_tables.SHARE_COLUMNS, solve_tables.share_body),
        (solve_tables.FIGURE_COLUMNS, solve_tables.figure_body),
        (other_tables.LASSO_COLUMNS, other_tables.lasso_body),
        (other_tables.TAIL_COLUMNS, other_tables.tail_body),
        (other_tables.SHIFT_COLUMNS, other_tables.shift_body),
        (other_tables.MATRIX_COLUMNS, other_tables.matrix_body),
        (other_tables.EVENT_COLUMNS, other_tables.event_body),
    )
    for columns, body in shown:
        rows = body(found)
        assert rows, columns
        assert {len(row) for row in rows} == {len(columns)}
        assert len(set(columns)) == len(columns)


def test_a_ratio_stands_beside_all_classical_solvers(found):
    layers, seconds = solve_tables.ratio_body(found)
    at = solve_tables.RATIO_COLUMNS.index
    assert layers[0] == "layers to -40 dB (8)"
    assert (layers[at("FISTA")], layers[at("OMP")], layers[at("celer")]) == ("20.0", "8.2", "")
    assert (seconds[at("FISTA, continuation")], seconds[at("skglm")]) == ("4.5", "not measured")


def test_layers_beyond_the_last_are_empty(found):
    found["curves"].append(curve("FISTA", 0, -1.0, layers=40))
    later = {row[0]: row[1:] for row in solve_tables.later_body(found)}
    assert list(later) == ["FISTA"]
    assert later["FISTA"][:2] == ["-32.0", ""]


def test_the_layer_of_the_goal_is_at_most_the_one_kept(found):
    late = curve("FISTA", 0, -1.0, layers=60)
    late["layers"] = [*range(1, 40), *range(41, 62)]
    found["curves"] += [late, curve("ISTA", 0, -0.1)]
    shown = {row[0]: row[-1] for row in solve_tables.curve_body(found)}
    assert (shown["HyperLISTA"], shown["FISTA"], shown["ISTA"]) == ("7, 9", "≤ 41", "-")
    guide = {row[0]: row[-1] for row in solve_tables.guide_body(found)}
    assert (guide["FISTA"], guide["ISTA"]) == ("40.0", "")


def test_the_page_reads_the_results(found, monkeypatch):
    monkeypatch.setattr(solve_blocks, "section", lambda: found)
    text = solve_blocks.reading()
    assert "OMP is exact" in text
    assert "over HyperLISTA's: FISTA 20.0, FISTA with continuation 4.5, OMP 30.0" in text
    assert "Missed:" in text
    assert "peers: celer 0.7.4" in solve_blocks.measured_on()
    assert solve_blocks.BLOCKS["solve-times"]().count("\n") == 6


def test_numbers_and_penalty_come_from_what_was_measured(found):
    assert solve.numbers_of(found, 1, solve.problems.QUICK) == (1.0, 2.0, 3.0)
    assert solve.penalty_of(found) == 0.005
