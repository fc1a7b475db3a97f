"""szilard stream: the folder, tables, controls, missing cells, and damaged states."""

from __future__ import annotations

import csv
import json
import random
from itertools import pairwise

import numpy as np
import pytest
from cli_tools import szilard
from rich.cells import cell_len
from stream_tables import COLUMNS, FILES, contents, drifting, table

from szilard.adapt import OnlineClassifier, OnlineRegressor
from szilard.cli import output


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    data = drifting(folder / "rows.csv", gaps=[(40, 1), (50, 3), (60, 2)])
    typed = szilard("stream", data, *COLUMNS, "--out", folder / "run", "--quiet")
    assert typed.code == 0, typed.output
    return folder, typed


def test_the_folder_has_the_documented_files(stream):
    folder, typed = stream
    assert typed.output.split() == [str(folder / "run" / "report.html")]
    assert {path.name for path in (folder / "run").iterdir()} == FILES


def test_every_row_has_a_line(stream):
    folder, _ = stream
    lines = table(folder / "run" / "predictions.csv")
    assert [line["row"] for line in lines] == [str(n) for n in range(1, 301)]
    assert [line["line"] for line in lines] == [str(n) for n in range(2, 302)]
    assert lines[0]["prediction"] == ""  # nothing is known before the first row
    skipped, unlabelled = lines[40], lines[50]
    assert skipped["prediction"] == skipped["log_probability"] == ""
    assert unlabelled["target"] == unlabelled["log_probability"] == ""
    assert unlabelled["prediction"] in ("no", "yes")
    for line in lines[100:]:
        if line["prediction"]:
            assert float(line["p(no)"]) + float(line["p(yes)"]) == pytest.approx(1, abs=1e-6)
            assert float(line["probability"]) == max(float(line["p(no)"]), float(line["p(yes)"]))
        if line["log_probability"]:
            assert np.exp(float(line["log_probability"])) == pytest.approx(
                float(line[f"p({line['target']})"])
            )


def test_figures_are_those_of_the_predictions(stream):
    folder, _ = stream
    result = json.loads((folder / "run" / "result.json").read_text())
    scored = [line for line in table(folder / "run" / "predictions.csv") if line["log_probability"]]
    assert (result["rows"], result["skipped"], result["unlabelled"]) == (300, 2, 1)
    assert result["scored"] == len(scored) == 300 - 3 - 2
    main = result["predictors"][0]
    assert main["nll"] == pytest.approx(-np.mean([float(line["log_probability"]) for line in scored]))
    assert main["accuracy"] == pytest.approx(np.mean([x["prediction"] == x["target"] for x in scored]))
    names = [one["method"] for one in result["predictors"]]
    assert names == ["bank", "persistence", "temper", "bf", "vcl"]
    assert main["nll"] < min(one["nll"] for one in result["predictors"][1:])  # the sign changes twice


def test_predictions_do_not_look_ahead(stream, tmp_path):
    """Another future changes no earlier line."""
    folder, _ = stream
    lines = (folder / "rows.csv").read_text().splitlines()
    cut = tmp_path / "cut.csv"
    cut.write_text("\n".join(lines[:151]) + "\n")
    assert szilard("stream", cut, *COLUMNS, "--out", tmp_path / "run", "--quiet").code == 0
    for name in ("predictions.csv", "changes.csv"):
        early = (tmp_path / "run" / name).read_text()
        assert (folder / "run" / name).read_text().startswith(early)


def test_python_continues_the_learner_of_a_folder(stream):
    folder, _ = stream
    learner = OnlineClassifier().load_state_dict(np.load(folder / "run" / "belief.npz"))
    assert learner.classes_.tolist() == ["no", "yes"]
    found = learner.predict_proba_one({"x": 2.0, "colour": "red"})
    assert found["yes"] > 0.8  # the sign of the last hundred rows
    with open(folder / "run" / "weights.csv") as file:
        rows = {line["feature"]: float(line["mean"]) for line in csv.DictReader(file)}
    assert set(rows) == {"(constant)", "x", "colour=red", "colour=blue"}
    first = table(folder / "run" / "predictions.csv")[0]["target"]
    assert rows["x"] * (1 if first == "no" else -1) > 0.5


@pytest.mark.parametrize("target", ["up", "price"])
def test_controls_are_learners_of_their_own(tmp_path, target):
    data = drifting(tmp_path / "rows.csv", 130, gaps=[(40, 1), (50, 3), (60, 2)])
    options = ("--target", target, "--time", "when", "--ignore", "price" if target == "up" else "up")
    assert szilard("stream", data, *options, "--out", tmp_path / "r", "-q").code == 0
    predictors = json.loads((tmp_path / "r" / "result.json").read_text())["predictors"]
    for control in predictors[2:]:
        learner = (OnlineClassifier if target == "up" else OnlineRegressor)(control["method"])
        losses, wrong = [], []
        for line in table(data):
            if line["x"] and line["colour"] and line[target]:
                x = {"x": float(line["x"]), "colour": line["colour"]}
                y = line[target] if target == "up" else float(line[target])
                guess = learner.predict_one(x)
                learner.learn_one(x, y)
                if np.isfinite(learner.log_probability_):
                    losses.append(-learner.log_probability_)
                    wrong.append(guess != y if target == "up" else (guess - y) ** 2)
        assert control["nll"] == pytest.approx(np.mean(losses), rel=1e-9)
        if target == "up":
            assert control["accuracy"] == pytest.approx(1 - np.mean(wrong))
        else:
            assert control["rmse"] == pytest.approx(np.sqrt(np.mean(wrong)), rel=1e-9)


@pytest.mark.parametrize("target", ["up", "price"])
def test_persistence_copies_targets_of_skipped_rows(tmp_path, target):
    gaps = [(row, 1) for row in range(0, 120, 3)]
    data = drifting(tmp_path / "rows.csv", 120, gaps=gaps)
    options = ("--target", target, "--time", "when", "--ignore", "price" if target == "up" else "up")
    with pytest.warns(UserWarning, match="40 of 120 rows"):
        assert szilard("stream", data, *options, "--out", tmp_path / "r", "-q").code == 0
    lines = table(tmp_path / "r" / "predictions.csv")
    last = {line["row"]: before["target"] for before, line in pairwise(lines)}
    scored = [line for line in lines if line["log_probability"]]
    assert len(scored) == (79 if target == "up" else 50)
    copy = json.loads((tmp_path / "r" / "result.json").read_text())["predictors"][1]
    assert copy["method"] == "persistence"
    if target == "up":
        right = [last[line["row"]] == line["target"] for line in scored]
        assert copy["accuracy"] == pytest.approx(np.mean(right))
    else:
        errors = [float(last[line["row"]]) - float(line["target"]) for line in scored]
        assert copy["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_weights_of_a_number_are_in_its_units(tmp_path):
    draws = random.Random(3)
    data = tmp_path / "t.csv"
    rows = [(draws.gauss(10, 4), draws.gauss(0, 1)) for _ in range(200)]
    data.write_text(
        "x,z,y\n" + "".join(f"{x},{z},{700 + 25 * x - 60 * z + draws.gauss(0, 20)}\n" for x, z in rows)
    )
    assert szilard("stream", data, "--target", "y", "--method", "vcl", "-o", tmp_path / "r", "-q").code == 0
    found = {
        line["feature"]: {key: float(value) for key, value in line.items() if key != "feature"}
        for line in table(tmp_path / "r" / "weights.csv")
    }
    for name, slope in (("x", 25), ("z", -60)):
        assert found[name]["mean"] / found[name]["scale"] == pytest.approx(slope, rel=0.1)
        # Of least squares: noise / √N for a feature in units of its deviation.
        assert found[name]["std"] == pytest.approx(20 / np.sqrt(200), rel=0.2)
    constant = found["(constant)"]["mean"] - sum(
        found[name]["mean"] * found[name]["center"] / found[name]["scale"] for name in ("x", "z")
    )
    assert constant == pytest.approx(700, rel=0.01)


@pytest.mark.parametrize("columns", [80, None])
def test_the_table_fits_a_terminal(stream, tmp_path, monkeypatch, columns):
    folder, _ = stream
    monkeypatch.setattr(output, "columns", lambda stream: columns)
    typed = szilard("stream", folder / "rows.csv", *COLUMNS, "--out", folder / "run", "--resume")
    assert typed.code == 0, typed.output
    printed = typed.output
    for words in ("bank of ten rates", "persistence: the last label", "always temper, 0.98", "VCL, never forgets",
                  "295 of 300 rows are scored", "2 without some feature are skipped", "2 are the first"):  # fmt: skip
        assert words in " ".join(printed.split())
    if columns:
        assert max(cell_len(line) for line in printed.splitlines()[:-1]) <= columns
    assert "rows a second" not in printed  # nothing was read


def test_json(stream):
    folder, _ = stream
    typed = szilard("stream", folder / "rows.csv", "--out", folder / "run", "--resume", "--json")
    found = json.loads(typed.stdout)
    assert found["rows"] == 300
    assert found["rows_per_second"] is None
    written = json.loads((folder / "run" / "result.json").read_text())
    assert {key: found[key] for key in written} == written


def test_a_number_has_mean_and_deviation(tmp_path):
    data = drifting(tmp_path / "n.csv")
    typed = szilard(
        "stream", data, "--target", "price", "--ignore", "up", "--time", "when", "--out", tmp_path / "r"
    )
    assert typed.code == 0, typed.output
    lines = table(tmp_path / "r" / "predictions.csv")
    assert list(lines[0]) == ["row", "line", "target", "prediction", "std", "log_probability"]
    assert all(line["log_probability"] == "" for line in lines[:30])
    scored = lines[30:]
    errors = [float(line["prediction"]) - float(line["target"]) for line in scored]
    main, copy = json.loads((tmp_path / "r" / "result.json").read_text())["predictors"][:2]
    assert main["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)
    assert main["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
    assert main["rmse"] < copy["rmse"]
    assert "RMSE" in typed.output
    assert "30 are the first, which give the target's scale" in " ".join(typed.output.split())


def test_copying_that_is_better_is_said(tmp_path):
    data = tmp_path / "slow.csv"
    draws = random.Random(1)
    data.write_text("x,y\n" + "".join(f"{draws.random():.3f},{'ab'[i // 40 % 2]}\n" for i in range(200)))
    typed = szilard("stream", data, "--target", "y", "--out", tmp_path / "r", "--method", "vcl")
    assert "Copying the last label is better: it has a lower NLL" in " ".join(typed.output.split())
    assert "VCL" in typed.output
    assert [x["method"] for x in json.loads((tmp_path / "r" / "result.json").read_text())["predictors"]] == [
        "vcl", "persistence", "temper", "bf",
    ]  # fmt: skip
    assert "Copying the last label is better" in (tmp_path / "r" / "report.html").read_text()


def test_few_scored_rows_are_a_caution(stream, tmp_path):
    folder, _ = stream
    data = drifting(tmp_path / "t.csv", 101)
    typed = szilard("stream", data, *COLUMNS, "--out", tmp_path / "r", "--no-controls")
    assert "Few rows: figures of 99 scored rows are uncertain." in typed.output
    assert "Few rows" in (tmp_path / "r" / "report.html").read_text()
    assert "Few rows" not in (folder / "run" / "report.html").read_text()


def test_detected_changes_are_logged(tmp_path):
    draws = random.Random(2)
    data = tmp_path / "d.csv"
    rows = [(x := draws.gauss(0, 1), (5 if i >= 100 else -5) * x + draws.gauss(0, 0.1)) for i in range(200)]
    data.write_text("x,y\n" + "".join(f"{x:.4f},{y:.4f}\n" for x, y in rows))
    typed = szilard("stream", data, "--target", "y", "--out", tmp_path / "r", "--method", "bocd")
    changes = table(tmp_path / "r" / "changes.csv")
    change = next(one for one in changes if one["row"] == "101")
    assert 101 <= int(change["found"]) <= 104
    assert int(change["line_found"]) == int(change["found"]) + 1
    assert float(change["probability"]) > 0.9
    word = "changes were" if len(changes) > 1 else "change was"
    assert f"{len(changes)} {word} found: " in typed.output
    assert not szilard(
        "stream", data, "--target", "y", "--out", tmp_path / "v", "--method", "vcl", "--no-controls"
    ).code
    assert not (tmp_path / "v" / "changes.csv").exists()


def test_dates_order_rows_and_become_features_when_named(tmp_path):
    data = tmp_path / "d.csv"
    lines = [f"{1 + i // 24:02d}.03.2024 {i % 24:02d}:00;{i % 7},5;{i % 3}" for i in range(120)]
    data.write_text("when;x;y\n" + "\n".join(lines) + "\n")
    typed = szilard(
        "stream", data, "--target", "y", "--time", "when", "--date", "when=dmy", "-o", tmp_path / "r"
    )
    assert typed.code == 0, typed.output
    names = [line["feature"] for line in table(tmp_path / "r" / "weights.csv")]
    assert {"x", "when:days", "when:day_sin"} <= set(names)
    lines[50] = lines[50].replace("03.2024", "02.2024")
    data.write_text("when;x;y\n" + "\n".join(lines) + "\n")
    szilard(
        "stream", data, "--target", "y", "--time", "when", "--date", "when=dmy", "-o", tmp_path / "s"
    ).refused(r"line 52 of .*d\.csv is earlier in column 'when' than line 51; sort the rows")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update({"filter.precision": -state["filter.precision"]}),
        lambda state: state.update({"filter.mean": state["filter.mean"][:, :1]}),
        lambda state: state.update({"filter.log_weight": np.full(10, -np.inf)}),
        lambda state: state.update({"filter.log_weight": np.zeros(10)}),
        lambda state: state.update({"filter.rows": np.array(-5)}),
        lambda state: state.update({"controls.mean": np.full((3, 4), np.nan)}),
        lambda state: state.update({"scores.sums": state["scores.sums"][:1]}),
        lambda state: state.update({"scores.count": np.array(10**9)}),
        lambda state: state.update({"trace.end": np.zeros(10**4)}),
        lambda state: state.update({"trace.width": state["trace.width"] * np.nan}),
        lambda state: state.update({"plain": np.array("[" * 10**4)}),
        lambda state: state.update({"persistence.counts": np.zeros((9, 9))}),
        lambda state: state.update({"plain": np.array("[]")}),
        lambda state: state.update({"scaler.square": -1 - state["scaler.square"]}),
        lambda state: state.update({"plain": np.array(str(state["plain"]).replace('["x", null], ', ""))}),
        lambda state: state.update({"stream.plain": np.array("[" * 10**4)}),
        lambda state: state.update({"stream.plain": np.array('{"version": 1}')}),
        lambda state: state.pop("scaler.mean"),
    ],
)  # fmt: skip
def test_a_damaged_belief_is_refused(stream, tmp_path, damage):
    folder, _ = stream
    run = tmp_path / "run"
    run.mkdir()
    for name in FILES:
        (run / name).write_bytes((folder / "run" / name).read_bytes())
    with np.load(run / "belief.npz") as archive:
        state = dict(archive)
    damage(state)
    np.savez(run / "belief.npz", **state)
    before = contents(run, FILES)
    szilard("stream", folder / "rows.csv", "--out", run, "--resume").refused(
        r"belief\.npz (is damaged|cannot be cont)"
    )
    assert contents(run, FILES) == before


def test_a_truncated_belief_and_a_shortened_table_are_refused(stream, tmp_path):
    folder, _ = stream
    run = tmp_path / "run"
    run.mkdir()
    for name in FILES:
        (run / name).write_bytes((folder / "run" / name).read_bytes())
    again = ("stream", folder / "rows.csv", "--out", run, "--resume")
    (run / "predictions.csv").write_text("row\n")
    szilard(*again).refused(
        r"predictions\.csv has 4 bytes and must have at least .*start again with --overwrite"
    )
    content = (run / "belief.npz").read_bytes()
    (run / "belief.npz").write_bytes(content[: len(content) // 2])
    szilard(*again).refused(r"belief\.npz is truncated")
    (run / "stream.toml").write_text('target = "up"\nrate = [1]\n')
    szilard(*again).refused(r"rate in .*stream\.toml is not a setting of a stream, or of a wrong type")
