"""Figures, gates, tables, page and pictures of benchmarks/galen.py, from results that are made up."""

from __future__ import annotations

import json
from typing import Any

import matplotlib
import pytest

from pages import galen_blocks
from pages.results import ROOT
from policies import galen_figures, galen_pictures, galen_tables, plan
from policies.plan import DEFAULT, INT8, LONG, MATCHED, PRUNED, SHORT, UNLABELLED

matplotlib.use("Agg")
RANKED = (("greedy", "0.4", 0.88, 3.0), ("random", "0.4", 0.82, 1.0), (INT8, "", 0.9, 4.0))


def network(
    searcher: str, target: str, seed: int, level: str, accuracy: float, ratio: float
) -> dict[str, Any]:
    return {
        "searcher": searcher, "target": target, "seed": seed, "level": level, "kl": 0.1, "kl_before": 0.4,
        "bytes": 9000, "training_seconds": 60.0, "accuracy": accuracy, "images": 100,
        "ms": 2 * ratio, "p10": ratio, "p90": 3 * ratio, "ratio": ratio, "noise": "", "notes": [],
    }  # fmt: skip


def search(searcher: str, target: str, seed: int, **others: Any) -> dict[str, Any]:
    return {
        "searcher": searcher, "target": target, "seed": seed, "share": 0.7 if target == MATCHED else float(target),
        "policy": [["conv1", 12, 32, 32], ["fc", 10, 8, 8]],
        "table_error": 2.0 + seed, "seconds": {"search": 60.0 * (1 + seed), "table": 9.0}, "notes": [],
        "trials": [[0.4, 0.3, None], [0.39, 0.5, 0.41], [0.3, None, None]], **others,
    }  # fmt: skip


@pytest.fixture
def found() -> dict[str, Any]:
    at_04 = {"evolution": 0.87, "agent": 0.86, "greedy": 0.88, "random": 0.82, PRUNED: 0.8}
    networks = []
    for seed in (0, 1):
        networks += [network(name, "0.4", seed, SHORT, value, 0.4) for name, value in at_04.items()]
        networks += [
            network(DEFAULT, "0.4", seed, LONG, 0.90 - 0.01 * seed, 0.40 + 0.03 * seed),
            network(DEFAULT, "0.6", seed, LONG, 0.912, 0.6),
            network(DEFAULT, "0.6", seed, UNLABELLED, 0.9, 0.6),
            network(DEFAULT, MATCHED, seed, SHORT, 0.91, 0.7),
            network(INT8, "", seed, SHORT, 0.90, 0.71),
        ]
    sensitivity = [
        {"name": "conv1", "kind": "channels", "options": [16, 12, 8, 4], "nats": [0.0, 0.01, 0.1, 1.0]},
        {"name": "fc", "kind": "bits", "options": [[32, 32], [8, 8]], "nats": [0.0, 0.002]},
    ]
    layer = {
        "layers": ["conv1"],
        "sizes": [3, 16],
        "kernel": [3, 3],
        "positions": [32, 32],
        "macs": 442368,
        "all": 0.1,
    }
    machine = {"processor": "P", "cores": "2", "load": "0.1", "torch": "2", "szilard": "0", "kernels": "k"}
    run = {"seconds": 60.0, "workers": 2, "date": "2026-01-01", "onnxruntime": "1", "machine": machine}
    return {
        "quick": False,
        "settings": plan.FULL.as_json(),
        "runs": {"search": run, "measure": {**run, "workers": 1}},
        "toy": [
            {"space": "toy", "searcher": name, "seed": seed, "evaluations": 9, "kl": kl, "optimum": 0.5}
            for name, kl in (("evolution", 0.5), ("random", 0.6)) for seed in (0, 1)
        ] + [
            {"space": "chain", "searcher": "evolution", "seed": 0, "evaluations": count, "kl": 1.0, "optimum": None}
            for count in (3, 9)
        ],
        "ranking": [
            {"searcher": name, "target": target, "seed": seed, "accuracy": accuracy, "kls": [kl, kl, 1 - accuracy]}
            for name, target, accuracy, kl in RANKED for seed in (0, 1)
        ],
        "bounds": {
            "uniform": [{"share": 0.5, "float32": 0.45, "int8": 0.4}], "int8": 0.7, "original_ms": 2.0, "noise": "",
            "empty": [{"network": "one ReLU", "ms": 0.01, "ratio": 0.005}],
            "layers": [{**layer, "half": 0.06, "quarter": 0.06, "int8": 0.05}, {**layer, "half": 0.04, "quarter": 0.01,
                        "int8": 0.03, "layers": ["a", "b"]}],
        },
        "searches": [
            search(DEFAULT, "0.4", 0, sizes={"conv1": 16, "fc": 10}, sensitivity=sensitivity),
            search(DEFAULT, "0.4", 1), search("random", "0.4", 0),
            {**search(PRUNED, "0.4", 0), "seconds": {}, "trials": [], "table_error": None},
        ],
        "networks": networks,
        "original": {"accuracy": 0.9173, "images": 100, "ms": 2.0, "p10": 2.0, "p90": 2.1, "ratio": 1.0, "noise": ""},
    }  # fmt: skip


def test_figures_are_means_over_seeds(found):
    known = galen_figures.figures(found)
    assert known["latency_ratio_04"] == pytest.approx(0.415)
    assert known["latency_ratio_04_worst"] == pytest.approx(0.43)
    assert known["drop_pt_04"] == pytest.approx(2.23)
    assert known["latency_ratio_06"] == pytest.approx(0.6)
    assert known["drop_pt_06"] == pytest.approx(0.53)
    assert known["drop_pt_06_unlabelled"] == pytest.approx(1.73)
    assert known["best_minus_random_pt"] == pytest.approx(6)  # greedy is the best
    assert known["agent_minus_evolution_pt"] == pytest.approx(-1)
    assert known["best_minus_uniform_int8_pt"] == pytest.approx(1)
    assert (known["uniform_int8_ratio"], known["matched_ratio"]) == pytest.approx((0.71, 0.7))
    assert known["table_error_percent"] == pytest.approx((2 + 3 + 2) / 3)
    assert known["toy_optimum_found"] is True


def test_random_policies_are_not_the_best_of_themselves(found):
    for row in found["networks"]:
        if row["searcher"] == "random":
            row["accuracy"] = 0.9
    assert galen_figures.figures(found)["best_minus_random_pt"] == pytest.approx(-2)


def test_one_seed_that_misses_the_optimum_is_enough(found):
    found["toy"][1]["kl"] = 0.51
    assert galen_figures.figures(found)["toy_optimum_found"] is False
    assert any(line.startswith("toy_optimum_found") for line in galen_figures.missed(found))


def test_what_was_not_measured_is_null():
    known = galen_figures.figures({})
    assert set(known.values()) == {None}
    assert set(galen_figures.GATES) <= set(known)
    json.dumps(known)
    assert galen_figures.missed({}) == []
    for _, _, body in galen_tables.ALL:
        assert body({}) == []


def test_gates_and_goals_have_a_direction():
    verdict = galen_figures.verdict
    assert verdict("latency_ratio_04", 0.42, False) == "reached"
    assert (
        verdict("latency_ratio_04", 0.43, True) == "MISSED by 0.01"
    )  # a latency is judged in a quick run, too
    assert verdict("drop_pt_04", 0.9, False) == "goal reached"
    assert verdict("drop_pt_04", 2.0, False) == "goal not reached"
    assert verdict("drop_pt_04", 3.0, True) == "MISSED by 0.5 (quick)"
    assert verdict("drop_pt_06_unlabelled", 9.0, False) == "goal not reached"  # no gate
    assert verdict("best_minus_random_pt", 0.0, False) == "reached"
    assert verdict("best_minus_random_pt", -0.5, False) == "MISSED by 0.5"
    assert verdict("toy_optimum_found", False, False) == "MISSED by 1"
    assert verdict("agent_minus_evolution_pt", -9.0, False) == ""


def test_a_missed_gate_comes_with_what_bounds_it(found):
    assert galen_figures.missed(found) == []
    for row in found["networks"]:
        row["accuracy"] -= 0.1 * (row["searcher"] == DEFAULT and row["level"] == LONG)
    lines = galen_figures.missed(found)
    assert lines[0].startswith("drop_pt_04 is 12.23, and the gate is ≤ 2.5: MISSED by")
    assert "one ReLU: 0.010 ms, 0.005 of the original" in lines
    assert "conv1 (1 of its shape) takes 0.60 of its time with a quarter of its channels" in lines
    assert not any(line.startswith("a (2") for line in lines)
    found["quick"] = True
    assert galen_figures.missed(found) == []


def test_every_table_has_a_cell_for_every_column(found):
    shown = [*galen_tables.ALL, ("", galen_tables.chain_columns(found), galen_tables.chain_body)]
    for _, columns, body in shown:
        rows = body(found)
        assert rows, columns
        assert {len(row) for row in rows} == {len(columns)}
        assert len(set(columns)) == len(columns)


def test_searchers_stand_beside_uniform_policies(found):
    rows = {row[0]: row[1:] for row in galen_tables.search_body(found)[:-1]}
    assert list(rows) == ["evolution", "agent (DDPG)", "greedy", "random", PRUNED, INT8]
    assert rows["evolution"][:2] == ["0.4", "1.5"]
    assert rows["greedy"][-2:] == ["88.00 ±0.00", "88.00, 88.00"]
    assert galen_tables.search_body(found)[-1][:2] == ["evolution", "that of uniform int8"]


def test_a_policy_is_shown_by_layer(found):
    assert galen_tables.policy_body(found) == [
        ["conv1", "16", "12; 12"],
        ["fc", "10", "10 at 8 bits; 10 at 8 bits"],
    ]


def test_the_page_reads_the_results(found, monkeypatch):
    monkeypatch.setattr(galen_blocks, "section", lambda: found)
    text = galen_blocks.reading()
    assert "0.415 of its time, 2.23 points lost (target 0.4); 0.600 of" in text
    assert text.endswith("No figure misses its gate.")
    assert "2 processes" in galen_blocks.measured_on()
    page = (ROOT / "docs" / "galen_results.md").read_text()
    for name, block in galen_blocks.BLOCKS.items():
        assert f"<!-- begin {name} -->" in page
        assert block()


def test_notes_say_that_the_machine_was_noisy(found):
    assert galen_figures.notes(found) == []
    found["original"]["noise"] = "other programs ran"
    assert galen_figures.notes(found) == [
        "latencies of finished networks are of a noisy machine: other programs ran"
    ]


def test_pictures_are_of_what_was_tried_and_finished(found, tmp_path):
    galen_pictures.draw(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"galen_frontier.png", "galen_sensitivity.png"}
    assert galen_pictures.points(found, "random") == [(0.4, 0.3), (0.41, 0.5)]  # measured where it was
    assert galen_pictures.bars(found) == ({"conv1": 0.1}, {"fc": 0.002})


def test_the_ranking_has_the_most_accurate_policy_first_and_correlations(found):
    body = galen_tables.ranking_body(found)
    assert [row[0] for row in body] == [INT8, "greedy", "random", "rank correlation"]
    assert body[0][1:4] == ["none", "90.00", "4.000"]
    assert body[-1][3:] == ["-1.00 ±0.00", "-1.00 ±0.00", "1.00 ±0.00"]
    assert galen_tables.ranking_body({}) == []


def test_a_search_with_a_lower_target_is_marked(found):
    assert not any("lowered" in row[1] for row in galen_tables.search_body(found))
    one = next(row for row in found["searches"] if (row["searcher"], row["target"]) == (DEFAULT, "0.4"))
    one["share"] = 0.388
    marked = [row[1] for row in galen_tables.search_body(found) if "lowered" in row[1]]
    assert marked == ["0.4 (lowered for 1 of 2)"]
