"""szilard stream: files, tables, missing cells, later files, bad input, kill and resume."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cli_tools import environment, szilard
from rich.cells import cell_len

from szilard import interrupts
from szilard.adapt import OnlineClassifier, OnlineRegressor
from szilard.cli import output
from szilard.data.column_warnings import ColumnWarning
from szilard.run import lock

FILES = {
    "stream.toml", "belief.npz", "predictions.csv", "changes.csv", "weights.csv", "result.json", "report.html"
}  # fmt: skip


def drifting(path, rows=300, *, seed=0, start=0, classes=("no", "yes"), gaps=()):
    """Rows whose class follows x, with a sign that changes every 100 rows; price is a number that follows x."""
    draws = random.Random(seed)
    lines = ["when,x,colour,up,price"]
    for i in range(start, start + rows):
        x, sign = draws.gauss(0, 1), 1 if (i // 100) % 2 == 0 else -1
        up = classes[int(sign * x + draws.gauss(0, 0.3) > 0)]
        colour, price = draws.choice(["red", "blue"]), 50 + 3 * sign * x + draws.gauss(0, 0.5)
        cells = [str(i), f"{x:.4f}", colour, up, f"{price:.3f}"]
        for row, column in gaps:
            if row == i:
                cells[column] = ""
        lines.append(",".join(cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def contents(folder, names=("predictions.csv", "changes.csv", "weights.csv")):
    return {name: (folder / name).read_bytes() for name in names}


COLUMNS = ("--target", "up", "--time", "when", "--ignore", "price")


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


# --- later files


def test_a_later_file_continues_like_one_long_file(tmp_path):
    whole = drifting(tmp_path / "whole.csv", 150)
    lines = whole.read_text().splitlines()
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("\n".join(lines[:91]) + "\n")
    second.write_text("\n".join([lines[0], *lines[91:]]) + "\n")
    one, two = tmp_path / "one", tmp_path / "two"
    assert szilard("stream", whole, *COLUMNS, "--out", one, "-q").code == 0
    assert szilard("stream", first, *COLUMNS, "--out", two, "-q").code == 0
    typed = szilard("stream", second, "--out", two, "--resume", "-q")
    assert typed.code == 0, typed.output
    assert (one / "weights.csv").read_bytes() == (two / "weights.csv").read_bytes()
    a, b = table(one / "predictions.csv"), table(two / "predictions.csv")
    for line in (*a, *b):
        line.pop("line")  # of another file
    assert a == b
    assert json.loads((two / "result.json").read_text())["rows"] == 150


def test_a_file_that_has_grown_continues_where_it_ended(tmp_path):
    whole = drifting(tmp_path / "whole.csv", 120)
    growing = tmp_path / "growing.csv"
    lines = whole.read_text().splitlines()
    for end in (51, 81, 121):
        growing.write_text("\n".join(lines[:end]) + "\n")
        typed = szilard("stream", growing, *COLUMNS, "--out", tmp_path / "run", "-q", "--resume")
        assert typed.code == 0, typed.output
    assert szilard("stream", whole, *COLUMNS, "--out", tmp_path / "whole", "-q").code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_later_files_are_checked(tmp_path):
    run = tmp_path / "run"
    first = drifting(tmp_path / "first.csv", 60)
    assert szilard("stream", first, *COLUMNS, "--out", run, "-q").code == 0
    before = contents(run, FILES)
    later = drifting(tmp_path / "later.csv", 40, start=60)
    text = later.read_text()

    def again():
        return szilard("stream", later, "--out", run, "--resume", "-q")

    later.write_text(text.replace("colour", "color"))
    again().refused(r"later\.csv has no column 'colour', which the stream in .* began with; add the column")
    drifting(later, 40, start=10)
    again().refused(r"line 2 of .*later\.csv is earlier in column 'when' than the last row of the stream")
    szilard("stream", first, "--out", run, "--resume", "--method", "vcl").refused(
        "started with other settings: method is bank there and vcl here"
    )
    szilard("stream", first, *COLUMNS, "--out", run).refused(
        "holds a stream; add --resume to continue it, --overwrite"
    )
    assert contents(run, FILES) == before
    later.write_text("\n".join(f"{line},{n or 'more'}" for n, line in enumerate(text.splitlines())) + "\n")
    with pytest.warns(
        UserWarning, match="has a column that the stream began without, such as 'more'; it is not used"
    ):
        assert again().code == 0


def test_no_row_is_learned_twice(tmp_path):
    first, run = drifting(tmp_path / "first.csv", 40), tmp_path / "run"
    later = drifting(tmp_path / "later.csv", 20, start=40)
    columns = ("--target", "up", "--ignore", "price", "--ignore", "when", "--no-controls")
    assert szilard("stream", first, *columns, "--out", run, "-q").code == 0
    text = first.read_text()
    lines = text.splitlines(keepends=True)
    before = contents(run, FILES)

    def again(data, sentence):
        szilard("stream", data, "--out", run, "--resume").refused(sentence)
        assert contents(run, FILES) == before

    def edited_and_cut():
        first.write_text(text.replace(lines[4], lines[5], 1) + lines[9])
        again(
            first,
            r"has read 40 rows of first\.csv, and .*first\.csv has changed in these rows.*; restore it, put",
        )
        first.write_text("".join(lines[:31]))
        again(
            first,
            r"has read 40 rows of first\.csv, and .*first\.csv has 30 rows now; restore it, put later rows",
        )

    edited_and_cut()
    assert szilard("stream", later, "--out", run, "--resume", "-q").code == 0
    before = contents(run, FILES)
    edited_and_cut()
    copy = tmp_path / "copy.csv"
    for one in (first, copy):
        one.write_text(text + lines[9])
        again(
            one,
            r"begins with the 40 rows of first\.csv that the stream in .* has read, and would be learned twice",
        )
    later.write_text(later.read_text() + lines[9])  # the last file may grow
    assert szilard("stream", later, "--out", run, "--resume", "-q").code == 0
    assert json.loads((run / "result.json").read_text())["rows"] == 61


def test_a_new_class_joins(tmp_path):
    run = tmp_path / "run"
    assert szilard("stream", drifting(tmp_path / "a.csv", 60), *COLUMNS, "--out", run, "-q").code == 0
    later = drifting(tmp_path / "b.csv", 60, start=60, classes=("no", "maybe"))
    with pytest.warns(
        UserWarning, match="has the new class 'maybe', which joins at the prior; the first row of a"
    ):
        typed = szilard("stream", later, "--out", run, "--resume", "-q")
    assert typed.code == 0, typed.output
    lines = table(run / "predictions.csv")
    first = next(n for n, line in enumerate(lines) if line["target"] == "maybe")
    assert lines[first]["log_probability"] == ""
    assert all(line["log_probability"] for line in lines[first + 1 :])
    assert "maybe" in {line["prediction"] for line in lines}
    assert json.loads((run / "result.json").read_text())["classes"] == 3


def test_classes_are_the_same_in_all_files(tmp_path):
    """Leading zeros make another class, and another notation of a number does not."""
    run, first, later = tmp_path / "run", tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("x,y\n" + "".join(f"{i % 5}.5,{1 + i % 2}\n" for i in range(20)))
    assert szilard("stream", first, "--target", "y", "--task", "classification", "-o", run, "-q").code == 0
    later.write_text("x,y\n1.5,01\n2.5,2.0\n3.5,1\n")
    with pytest.warns(UserWarning, match=r"b\.csv has the new class '01', which joins"):
        assert szilard("stream", later, "--out", run, "--resume", "-q").code == 0
    assert [line["target"] for line in table(run / "predictions.csv")[20:]] == ["01", "2", "1"]
    later.write_text(later.read_text() + "2.5,003\n1.5,1\n")
    with pytest.warns(UserWarning, match=r"b\.csv has the new class '003', which joins"):
        assert szilard("stream", later, "--out", run, "--resume", "-q").code == 0
    assert json.loads((run / "result.json").read_text())["classes"] == 4


# --- bad input


def test_bad_input_is_refused_in_one_sentence(tmp_path):
    warnings.simplefilter("ignore", ColumnWarning)  # columns that look like ids
    data = drifting(tmp_path / "t.csv", 60)
    out = ("--out", tmp_path / "run")

    def refused(sentence, *options, data=data):
        szilard("stream", data, *options, *out).refused(sentence)
        assert not (tmp_path / "run").exists()

    refused("name the column to predict with --target")
    refused("has no column 'down'; choose one of when, x, colour, up, price", "--target", "down")
    refused("a stream has one target, and several are named", "--target", "up,price")
    refused(
        "there is no method 'river' for streams; choose bank, vcl,", "--target", "up", "--method", "river"
    )
    refused(r"rate must be between 0 \(forget everything\) and 1 \(forget nothing\), not 1\.5", *COLUMNS, "--method",
            "temper", "--rate", "1.5")  # fmt: skip
    refused("rate is for the methods temper and bf, not for bank", *COLUMNS, "--rate", "0.9")
    refused("unknown belief 'wide': choose full or diagonal", *COLUMNS, "--belief", "wide")
    refused(
        "predicts one class or one number, not multilabel; choose --task",
        "--target",
        "up",
        "--task",
        "multilabel",
    )
    refused("is text and not a quantity", "--target", "up", "--task", "regression")
    refused("checkpoint-rows must be at least 1", *COLUMNS, "--checkpoint-rows", "0")
    refused("does not exist; give a CSV file", *COLUMNS, data=tmp_path / "none.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    refused("is empty; it must have a line of names", *COLUMNS, data=empty)
    constant = tmp_path / "constant.csv"
    for cell in ("no", "2.5"):
        constant.write_text("x,y\n" + "".join(f"{i}.5,{cell}\n" for i in range(30)))
        refused(f"the target 'y' of .* is '{cell}' in every row", "--target", "y", data=constant)
    gaps = drifting(tmp_path / "g.csv", 60, gaps=[(20, 3), (30, 1)])
    refused(
        r"line 22, column 'up' of .*g\.csv is missing, and --strict refuses .*to predict such rows w", *COLUMNS,
        "--strict", data=gaps,
    )  # fmt: skip
    many = tmp_path / "many.csv"
    many.write_text("name,y\n" + "".join(f"n{i},{i % 2}\n" for i in range(150)))
    refused("is text with 150 different values .*at most 100.*--ignore", "--target", "y", data=many)
    wide = tmp_path / "wide.csv"
    wide.write_text(
        ",".join([*(f"x{i}" for i in range(520)), "y"]) + "\n"
        + "".join(",".join(f"{(i * r) % 7}.5" for i in range(520)) + f",{r % 2}\n" for r in range(4))
    )  # fmt: skip
    refused("520 features.* too many for a full belief .*add --belief diagonal", "--target", "y", data=wide)
    assert szilard("stream", wide, "--target", "y", "--belief", "diagonal", *out, "-q").code == 0


@pytest.mark.parametrize("column", ["x", "price"])
def test_a_huge_number_is_refused_before_anything_is_written(tmp_path, column):
    data, run = drifting(tmp_path / "t.csv", 60), tmp_path / "run"
    good = data.read_text()
    options = ("--target", "price", "--ignore", "up", "--time", "when", "--decimal", ".")
    place = {"x": 1, "price": 4}[column]

    def with_cell(cell):
        lines = good.splitlines()
        cells = lines[40].split(",")
        cells[place] = cell
        return "\n".join([*lines[:40], ",".join(cells), *lines[41:]]) + "\n"

    data.write_text(with_cell("-1e200"))
    sentence = (
        rf"error: line 41, column '{column}' of .*t\.csv is -1e200, and numbers beyond 1e100 cannot be "
    )
    szilard("stream", data, *options, "--out", run).refused(sentence)
    assert not run.exists()
    data.write_text(with_cell("-1e99"))
    for resumed in ((), ("--resume",)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            typed = szilard("stream", data, *options, "--out", run, "-q", *resumed)
        assert typed.code == 0, typed.output
        data.write_text(with_cell("-1e99") + "60,0.5,red,no,50\n")
    before = contents(run, FILES)
    data.write_text(data.read_text() + "61,1e101,red,no,50\n")
    szilard("stream", data, "--out", run, "--resume").refused(r"line 63, column 'x' of .*t\.csv is 1e101")
    assert contents(run, FILES) == before


def test_what_cannot_be_computed_names_its_line(tmp_path):
    data = tmp_path / "t.csv"
    draws = random.Random(0)
    cells = [f"{draws.random()},{draws.random()}e-120" for _ in range(60)]
    cells[50] = "0.5,1e99"
    data.write_text("x,y\n" + "\n".join(cells) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        szilard("stream", data, "--target", "y", "--out", tmp_path / "r").refused(
            r"line 52 of .*t\.csv: (?!row)"
        )


def test_many_skipped_rows_are_a_warning(tmp_path):
    gaps = [*((row, 1) for row in range(4)), *((row, 2) for row in range(3, 9))]
    data = drifting(tmp_path / "t.csv", 80, gaps=gaps)
    sentence = r"9 of 80 rows of .*t\.csv \(11\.2 %\) lack some feature and are skipped; column 'colour' has most gaps"
    with pytest.warns(UserWarning, match=sentence):
        assert szilard("stream", data, *COLUMNS, "--out", tmp_path / "r", "--no-controls", "-q").code == 0


def test_other_peoples_files_stay(tmp_path):
    data = drifting(tmp_path / "t.csv", 40)
    mine = tmp_path / "run" / "predictions.csv"
    mine.parent.mkdir()
    mine.write_text("mine")
    szilard("stream", data, *COLUMNS, "--out", mine.parent).refused(
        r"predictions\.csv exists and is of no stream; name another folder"
    )
    assert mine.read_text() == "mine"


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


# --- kill and resume


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "szilard", "stream", *map(str, arguments)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill(process, path, size, number):
    """Send a signal when a file is larger than ``size``; exit code and standard error."""
    patience = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < patience:
        if path.is_file() and path.stat().st_size > size:
            break
        time.sleep(0.002)
    process.send_signal(number)
    _, message = process.communicate(timeout=300)
    return process.returncode, message


def killed_in_a_fork(path, size, *arguments):
    """Start a stream in a copy of this process, which has imported everything, and kill it; whether it was running."""
    child = os.fork()
    if not child:
        try:
            szilard("stream", *arguments)
        finally:
            os._exit(0)
    while not (path.is_file() and path.stat().st_size > size) and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


posix = pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX system")


@posix
def test_a_killed_stream_ends_with_the_same_bytes(tmp_path):
    data = drifting(tmp_path / "long.csv", 240, gaps=[(70, 1), (80, 3)])
    options = (data, *COLUMNS, "--method", "vbs")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert szilard("stream", *options, "--out", whole, "-q").code == 0
    assert killed_in_a_fork(
        killed / "predictions.csv", 3000, *options, "--out", killed, "-q", "--checkpoint-rows", 20
    )
    assert not (killed / "result.json").exists()
    szilard("stream", drifting(tmp_path / "other.csv", 50, seed=9), "--out", killed, "--resume").refused(
        r"has read \d+ of 240 rows of long\.csv, and .*other\.csv is another file, or has changed; finish long\.csv"
    )
    with open(killed / "predictions.csv", "a") as file:
        file.write("1,2,written after the last state")
    typed = szilard("stream", data, "--out", killed, "-q", "--resume")
    assert typed.code == 0, typed.output
    assert contents(killed) == contents(whole)
    assert {path.name for path in killed.iterdir()} == FILES


@posix
@pytest.mark.slow
@pytest.mark.parametrize("method", ["bank", "vbs", "bocd"])
@pytest.mark.parametrize("target", ["up", "price"])
def test_a_stream_that_is_killed_again_and_again(tmp_path, method, target):
    data = drifting(tmp_path / "long.csv", 3000, gaps=[(7, 1), (70, 1), (80, 3)])
    options = (data, "--target", target, "--time", "when", "--method", method)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert szilard("stream", *options, "--out", whole, "-q").code == 0
    draws = random.Random(0)
    predictions: Path = killed / "predictions.csv"
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        size = predictions.stat().st_size if predictions.is_file() else 0
        process = start(*options, "--out", killed, "-q", "--resume", "--checkpoint-rows", 7)
        code, message = kill(process, predictions, size + draws.randrange(30_000), number)
        if code == 0:
            break
        assert code == (-number if number == signal.SIGKILL else 128 + number), message
        if number != signal.SIGKILL:
            assert f"; continue with szilard stream {data} --out {killed} --resume" in message
    assert szilard("stream", data, "--out", killed, "-q", "--resume").code == 0
    assert contents(killed) == contents(whole)


def test_an_interrupted_stream_says_how_to_continue(tmp_path, monkeypatch):
    data = drifting(tmp_path / "t.csv", 80)
    rows = iter(range(1000))
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "asked", lambda: signal.SIGTERM if next(rows) == 30 else None)
        typed = szilard("stream", data, *COLUMNS, "--out", tmp_path / "run", "-q")
    assert typed.code == 128 + signal.SIGTERM
    assert (
        f"stopped by SIGTERM; continue with szilard stream {data} --out {tmp_path / 'run'} --resume"
        in typed.output
    )
    assert len(table(tmp_path / "run" / "predictions.csv")) == 31
    assert szilard("stream", data, "--out", tmp_path / "run", "--resume", "-q").code == 0
    assert szilard("stream", data, *COLUMNS, "--out", tmp_path / "whole", "-q").code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_full_disk_says_how_to_continue(tmp_path, monkeypatch):
    data = drifting(tmp_path / "t.csv", 80)
    options = (data, *COLUMNS, "--out", tmp_path / "run", "-q")
    syncs = iter(range(1000))

    def full(handle, sync=os.fsync):
        if next(syncs) == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        szilard("stream", *options, "--checkpoint-rows", 20).refused(
            rf"the disk is full: .* continue with szilard stream {data} --out {tmp_path / 'run'} --resume"
        )
    assert szilard("stream", data, "--out", tmp_path / "run", "--resume", "-q").code == 0
    assert szilard("stream", data, *COLUMNS, "--out", tmp_path / "whole", "-q").code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@posix
def test_links_in_a_folder_are_not_followed(tmp_path):
    data = drifting(tmp_path / "t.csv", 40)
    run, mine = tmp_path / "run", tmp_path / "mine.csv"
    assert szilard("stream", data, *COLUMNS, "--out", run, "-q").code == 0
    mine.write_text("mine\n" * 10_000)
    (run / "predictions.csv").unlink()
    (run / "predictions.csv").symlink_to(mine)
    szilard("stream", data, "--out", run, "--resume").refused(r"predictions\.csv could not be written")
    assert mine.read_text() == "mine\n" * 10_000


def test_names_from_a_file_are_printed_safely(tmp_path):
    data = tmp_path / "t.csv"
    label = "=\u202ecmd"
    data.write_text("x,\x1b[31my\n" + "".join(f"{i % 5}.5,{label if i % 2 else 'b'}\n" for i in range(40)))
    typed = szilard("stream", data, "--target", "\x1b[31my", "--out", tmp_path / "r")
    assert typed.code == 0, typed.output
    written = (tmp_path / "r" / "predictions.csv").read_text()
    for text in (typed.output, written, (tmp_path / "r" / "report.html").read_text()):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert table(tmp_path / "r" / "predictions.csv")[1]["target"] == "'=\\u202ecmd"


def test_few_rows_have_no_figures(tmp_path):
    data = tmp_path / "t.csv"
    data.write_text("x,y\n1.5,2.5\n2.5,3.25\n3.5,1.25\n")
    typed = szilard("stream", data, "--target", "y", "--out", tmp_path / "r")
    assert typed.code == 0, typed.output
    assert "0 of 3 rows are scored" in typed.output
    assert "Few rows" not in typed.output
    assert json.loads((tmp_path / "r" / "result.json").read_text())["rate"] == 1
    assert "NLL" not in typed.output
    assert (tmp_path / "r" / "weights.csv").read_text() == "feature,mean,std,center,scale\n"
    lines = table(tmp_path / "r" / "predictions.csv")
    assert [line["prediction"] for line in lines] == ["", "2.5", "2.875"]  # the mean of the targets so far


def test_two_streams_do_not_share_a_folder(tmp_path):
    data = drifting(tmp_path / "t.csv", 40)
    with lock.run(tmp_path / "run"):
        # The same thread could take the lock again, so another one tries.
        found = []
        thread = threading.Thread(
            target=lambda: found.append(szilard("stream", data, *COLUMNS, "--out", tmp_path / "run"))
        )
        thread.start()
        thread.join()
    found[0].refused("is in use by")
