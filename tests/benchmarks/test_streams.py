"""The computations of benchmarks/streams.py, against answers that are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import streams
from streaming import digits, labelled, measures, recorded, resets, river_peers, sensors, stream_figures
from streaming.filtering import filtered
from streaming.single_rates import Recorded
from szilard.adapt import Filter, OnlineClassifier
from szilard.adapt.broadening import Temper
from szilard.adapt.observations import Logistic
from szilard.adapt.trackers import RATES, Always, Bank, Tracks


def test_the_mean_cumulative_error_is_the_mean_of_running_means():
    assert measures.mcae(np.array([1.0, 0.0, 2.0])) == pytest.approx((1 + 0.5 + 1) / 3)


def test_probabilities_are_cut_before_the_logarithm():
    losses = measures.nll(np.array([0.0, 1.0, 0.25]), np.array([1, 1, 0]))
    assert losses == pytest.approx([-math.log(1e-6), -math.log(1 - 1e-6), -math.log(0.75)])
    assert measures.accuracy(np.array([0.9, 0.9, 0.1, 0.2]), np.array([1, 0, 0, 0])) == 0.75


def test_the_standard_error_counts_blocks_and_not_rows():
    means = measures.block_means(np.array([0.0, 0.0, 2.0, 2.0, 4.0, 4.0, 99.0]), 2)
    assert means.tolist() == [0.0, 2.0, 4.0]
    assert measures.standard_error(means) == pytest.approx(2 / math.sqrt(3))
    assert math.isnan(measures.standard_error(means[:1]))


@pytest.mark.parametrize(
    ("found", "true", "matches"),
    [([10, 12], [11], 1), ([10], [8, 12], 1), ([10, 50], [12, 49], 2), ([], [5], 0), ([100], [10], 0)],
)
def test_a_found_change_accounts_for_one_true_change(found, true, matches):
    assert measures.found_changes(found, true, 5) == matches


def test_a_rate_of_the_bank_is_the_filter_of_this_rate_alone():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    y = (x[:, 0] > 0).astype(int)
    observation = Recorded(Logistic())
    filtered(Filter(observation, 3, tracker=Bank((1.0, 0.9))), x, y)
    alone = filtered(Filter(Logistic(), 3, broadening=Temper(0.9), tracker=Always()), x, y)
    assert -np.stack(observation.evidence)[:, 1] == pytest.approx(alone.loss)
    chosen = alone.predictions[np.arange(60), y]
    assert alone.loss == pytest.approx(-np.log(chosen))  # predicted before it was learned


def test_the_conditional_beam_drops_the_evidence_of_parents():
    beam = resets.ConditionalBeam(2, 0.5)
    parents = Tracks(np.log([0.5, 0.5]), np.array([-1, 3]))
    branches = beam.branch(parents, 0.1)
    evidence = np.log([0.01, 0.03, 0.4, 0.4])  # the first parent explains the row badly
    joint = branches.log_prior + evidence
    tracks = Tracks(joint - np.logaddexp.reduce(joint), np.zeros(4, dtype=int))
    assert beam.prune(tracks).tolist() == [1, 2]
    assert np.exp(tracks.log_weight) == pytest.approx([0.125, 0.375, 0.25, 0.25])


def test_the_log_odds_are_of_the_day_before(tmp_path):
    prices = np.tile(np.arange(48) / 48, 86)
    folder = tmp_path / "streams"
    folder.mkdir()
    rows = np.column_stack(
        (np.tile(np.arange(48) / 47, 86), prices, *np.zeros((4, len(prices))), np.zeros(len(prices)))
    )
    np.savetxt(folder / "elec.csv", rows, delimiter=",", header="a,b,c,d,e,f,class", comments="")
    data = recorded.log_odds(tmp_path)
    assert data.x.shape == (len(prices) - 48 - recorded.SKIPPED, 15)
    place = (recorded.SKIPPED + 48) % 48
    assert data.fraction[0] == pytest.approx(place / 48)
    assert data.before[1] == data.fraction[0]
    assert data.y[np.argmin(data.fraction)] == -4
    rows[3:, 6] = 1
    np.savetxt(folder / "elec.csv", rows, delimiter=",", header="a,b,c,d,e,f,class", comments="")
    labels = recorded.labels(tmp_path, "elec2")
    assert labels.x[:, 1].tolist() == prices.tolist()
    assert labels.both == 4  # row 3 has the second class


def test_rates_of_a_learner_follow_the_rules_of_all_methods():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 2))
    data = recorded.Labels(x, np.append([1, 1], (x[2:, 0] > 0).astype(int)), 3)
    learner = labelled.RecordedClassifier("bank")
    positive, _ = labelled.before_each_row(learner, data)
    rates = labelled.of_rates(learner, data.both)
    assert list(rates) == [str(rate) for rate in RATES]
    alone = OnlineClassifier("vcl")
    vcl, _ = labelled.before_each_row(alone, data)
    vcl[:3] = positive[:3] = 0.5
    assert rates["1.0"] == pytest.approx(measures.nll(vcl, data.y).mean())
    assert min(rates.values()) - 0.1 < measures.nll(positive, data.y).mean() < max(rates.values())


def test_persistence_predicts_the_last_label():
    found = labelled.persistent(np.array([1, 1, 1, 0, 0]))
    assert found[0] == 0.5
    assert found[1] == pytest.approx(0.9)
    assert found[2] == pytest.approx(10 / 11)
    assert found[4] == pytest.approx(1 - (9 + 2) / 13)


def test_faults_are_of_one_sensor_and_end(tmp_path):
    folder = tmp_path / "uci" / "power-plant"
    folder.mkdir(parents=True)
    np.savetxt(folder / "data.txt", np.random.default_rng(0).normal(size=(3000, 5)))
    world, healthy = (sensors.plant(tmp_path, "temperature", seed) for seed in (1, 1))
    assert np.array_equal(world.x, healthy.x)
    assert world.changes == sorted(world.changes)
    assert 2 <= len(world.changes) < 20
    order = np.random.default_rng(1).permutation(3000)
    raw = np.loadtxt(folder / "data.txt")[order, :-1]
    assert np.corrcoef(world.x[:, 2], raw[:, 1])[0, 1] == pytest.approx(1)
    first, last = world.changes[:2]
    scaled = (raw[:, 0] - raw[:100, 0].mean()) / raw[:100, 0].std()
    if first >= 100:
        assert world.x[:first, 1] == pytest.approx(scaled[:first])
        assert not np.allclose(world.x[first:last, 1], scaled[first:last])


def test_images_turn_about_their_centre():
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 1] = 1.0
    turned = digits.turned(image, 90.0)[0, 0]
    assert float(turned.sum()) == pytest.approx(1, abs=1e-4)
    assert float(turned[1, 4] + turned[7, 4]) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(digits.turned(image, 0.0), image, atol=1e-6)


def test_missed_targets_are_named():
    lines = stream_figures.missed({"elec2_vbs1": 7.5, "elec2_bank_accuracy": 0.95, "elec2_bf98": 13.5})
    assert len(lines) == 2
    assert "elec2_vbs1 is 7.5, and the target is ≤ 7.4" in lines[0]
    assert stream_figures.missed({"elec2_vbs1": None}) == []


def test_missing_peers_give_null_and_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(river_peers, "installed", lambda: False)
    assert not any(name.startswith("river") for name in labelled.names(False))
    assert river_peers.log_odds(np.zeros((1, 2)), np.zeros(1), 1.0, 0.1) == (None, river_peers.PIP)
    assert all(value is None for value in stream_figures.figures([]).values())


def test_results_keep_the_parts_that_are_not_measured(tmp_path, monkeypatch, capsys):
    path = tmp_path / "results.json"
    old = {"part": "log_odds", "name": "bank", "mcae": 8.0, "changes": None, "rows_per_second": 1.0}
    path.write_text(json.dumps({"rows": [old], "runs": {"log_odds": {"quick": False}}}))

    class Here:
        def __init__(self, _: int) -> None: ...
        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None: ...

        def imap_unordered(self, function, jobs):
            return map(function, jobs)

    monkeypatch.setattr(streams.multiprocessing, "get_context", lambda _: type("C", (), {"Pool": Here}))
    monkeypatch.setattr(resets, "ROWS", 60)
    monkeypatch.setattr(resets, "METHODS", {"run length": resets.METHODS["run length"]})
    monkeypatch.setattr(
        "sys.argv",
        ["streams.py", "--data-root", "x", "--quick", "--only", "resets", "--results", str(path)],
    )
    streams.main()
    kept = json.loads(path.read_text())
    assert [row["part"] for row in kept["rows"]] == ["log_odds", "resets", "resets"]
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["benchmark"] == "streams"
    assert math.isfinite(last["figures"]["run_length_nll"])
