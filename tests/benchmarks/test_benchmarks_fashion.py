"""Seconds and joules of the Fashion-MNIST benchmark, the race of methods, and the pages that show them."""

import json

import pytest

import render
from common.joulemeter import JouleMeter
from pages import results
from szilard import data, methods
from training import race
from uncertainty import fashion_runs, fashion_tables


def test_stored_rows_have_seconds_and_joules():
    rows = fashion_tables.by_row(render.read("fashion.jsonl"), "all")
    table = fashion_tables.body(rows)
    assert all(len(line) == len(fashion_tables.COLUMNS) for line in table)
    job = rows["deterministic"][0]
    steps = 12 * 391
    expected = job["figures"]["train_gflops"] * 1e9 / 2 * 4.6e-12 + steps * 669_706 * 28 / 8 * 1300e-12
    assert fashion_runs.training_joules(job) == pytest.approx(expected, rel=1e-6)
    found = fashion_tables.figures({"all": rows})
    assert 0 < found["ssvi95_joules_vs_deterministic"] < 0.2
    assert found["ssvi95_seconds_vs_deterministic"] > 0


def test_number_of_trained_values():
    weights, biases = 784 * 512 + 512 * 512 + 512 * 10, 512 + 512 + 10
    assert fashion_runs.trained_values("deterministic", None) == weights + biases
    assert fashion_runs.trained_values("mean-field", None) == 2 * weights + biases
    assert fashion_runs.trained_values("ssvi", 0.05) == pytest.approx(0.1 * weights + biases, abs=4)


def test_a_race_of_two_epochs(capsys):
    part = data.load("digits")
    racers = [
        race.Racer.make(row, "mlp:16", methods.make(name, len(part.train), **options), part, 2, 128)
        for row, name, options in (
            ("deterministic", "deterministic", {}),
            ("dense mean-field, best T", "mean-field", {}),
            ("SSVI 95 %", "ssvi", {"density": 0.2, "every": 5, "growth_batches": 2}),
        )
    ]
    curves = race.run(racers, part, samples=2)
    for racer, curve in zip(racers, curves, strict=True):
        assert racer.method.step == racer.method.total_steps
        assert len(curve["seconds"]) == len(curve["accuracy"]) == 2
        assert 0 <= curve["seconds"][0] <= curve["seconds"][1]
        assert curve["joules"] > 0
    assert "epoch 2: " in capsys.readouterr().out
    assert all(len(line) == len(race.COLUMNS) for line in race.body(curves))
    assert json.loads(json.dumps(curves)) == curves


def curve(row, seconds, accuracy, joules):
    return {
        "row": row, "seconds": seconds, "cpu_seconds": seconds, "accuracy": accuracy,
        "test_accuracy": accuracy[-1], "joules": joules, "joules_source": "estimated",
    }  # fmt: skip


def test_race_figures():
    curves = [
        curve("deterministic", [4.0, 8.0, 12.0], [0.5, 0.7, 0.7], 10.0),
        curve("dense mean-field, best T", [10.0, 20.0, 30.0], [0.5, 0.6, 0.8], 20.0),
        curve("SSVI 95 %", [1.0, 2.0, 3.0], [0.5, 0.6, 0.7], 1.0),
    ]
    assert race.to_final(curves[0]) == 8.0
    assert race.per_epoch(curves[0]) == [4.0, 4.0, 4.0]
    found = race.figures(curves)
    assert found["race_ssvi95_seconds_vs_deterministic"] == 0.25
    assert found["race_ssvi95_seconds_to_final_vs_deterministic"] == 0.375
    assert found["race_ssvi95_joules_vs_mean_field"] == 0.05
    assert found["race_ssvi95_test_minus_mean_field_pp"] == pytest.approx(-10)


def test_joule_meter_handles_counter_overflow(tmp_path):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "max_energy_range_uj").write_text("9999999\n")
    counter = zone / "energy_uj"
    counter.write_text("9000000\n")
    meter = JouleMeter(tmp_path)
    assert meter.readable
    counter.write_text("1000000\n")
    assert meter.since() == pytest.approx(2.0)
    assert meter.since() == 0


def test_joule_meter_without_counters(tmp_path):
    meter = JouleMeter(tmp_path)
    assert not meter.readable
    assert meter.since() == 0


def test_blocks_without_results_are_unchanged(tmp_path, monkeypatch):
    page = (
        "a\n<!-- begin fashion-race -->\nkept\n<!-- end -->\nb\n<!-- begin train-step-mlp -->\n<!-- end -->\n"
    )
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    assert render.filled(page) == page
    curves = [curve("deterministic", [4.0], [0.5], 10.0)]
    (tmp_path / "fashion_race.jsonl").write_text("".join(json.dumps(c) + "\n" for c in curves))
    filled = render.filled(page)
    assert "| deterministic | 4.0 |" in filled
    assert "kept" not in filled
    assert filled.endswith("<!-- begin train-step-mlp -->\n<!-- end -->\n")


def test_every_block_of_every_page_has_a_table():
    for page in render.PAGES:
        for name in render.re.findall(r"<!-- begin (\S+) -->", page.read_text()):
            assert name in render.TABLES
