"""A realistic table on the command line: fit, replay, measure and predict read it in the same way."""

import json
import random
import re
import tomllib

import pytest
from cli_tools import szilard

from szilard import SzilardWarning
from szilard.data.reading import Reading
from szilard.model import saved_network

FIT = (
    "--network",
    "mlp:16",
    "--density",
    "0.5",
    "--epochs",
    "20",
    "--samples",
    "8",
    "--accelerator",
    "cpu",
    "--no-baselines",
    "-q",
)
OPTIONS = (
    "--target",
    "churned",
    "--ignore",
    "id",
    "--date",
    "joined",
    "--missing",
    "mean",
    "--group",
    "family",
)


def table(path, n=160, colours=("red", "green", "blue")):
    draws = random.Random(0)
    lines = ["id;joined;income;colour;family;churned"]
    for i in range(n):
        income = f"{1000 + 4000 * draws.random():,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
        income = "" if i % 20 == 3 else income
        day = f"{1 + draws.randrange(28):02d}.{1 + draws.randrange(12):02d}.2023"
        label = "yes" if draws.random() < 0.15 else "no"
        lines.append(f"{500 + i};{day};{income};{draws.choice(colours)};{i // 4};{label}")
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    typed = szilard("fit", "--data", table(folder / "t.csv"), *OPTIONS, *FIT, "--class-weights", "balanced",
                    "--out", folder / "run")  # fmt: skip
    assert typed.code == 0, typed.output
    return folder / "run"


def test_settings_and_results_are_stored(run):
    settings = tomllib.loads((run / "run.toml").read_text())
    assert settings["data"]["ignore"] == ["id"]
    assert settings["data"]["date"] == ["joined"]
    assert (settings["data"]["missing"], settings["data"]["group"]) == ("mean", "family")
    assert settings["fit"]["class_weights"] == "balanced"
    found = saved_network.load(run / "ssvi" / "network.pt")
    assert isinstance(found.reading, Reading)
    assert "joined:days" in found.feature_names
    assert not {"id", "family"} & set(found.feature_names)
    result = json.loads((run / "ssvi" / "result.json").read_text())
    assert [row["class"] for row in result["by_class"]] == ["no", "yes"]
    low, high = result["intervals"]["accuracy"]
    assert low <= result["test"]["accuracy"] <= high


def test_a_replay_gives_the_same_results(run, tmp_path):
    typed = szilard(
        "fit", run / "run.toml", "--out", tmp_path / "again", "--no-baselines", "-q", "--accelerator", "cpu"
    )
    assert typed.code == 0, typed.output
    first, again = (json.loads((r / "ssvi" / "result.json").read_text()) for r in (run, tmp_path / "again"))
    assert first["test"] == again["test"]
    assert first["intervals"] == again["intervals"]


def test_measure_agrees_with_the_run_and_prints_intervals_and_classes(run):
    measured = json.loads(
        szilard("measure", run, "--samples", "8", "--json").output.partition("{")[2].join(["{", ""])
    )
    result = json.loads((run / "ssvi" / "result.json").read_text())
    assert measured["networks"][0]["quality"]["nll"] == pytest.approx(result["test"]["nll"], rel=1e-4)
    assert measured["networks"][0]["by_class"][1]["class"] == "yes"
    shown = szilard("measure", run).output
    assert "95 % intervals, " in shown
    assert "95 % interval" in shown
    assert "Classes, SSVI, 50 % of weights" in shown


def test_new_rows_are_read_as_in_training(run, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text(
        "colour;income;joined\nred;1.234,50;03.04.2023\nred;;03.04.2023\nmauve;1.234,50;03.04.2023\n",
        encoding="utf-8",
    )
    typed = szilard("predict", run, path)
    assert typed.code == 0, typed.output
    rows = [line.split(",") for line in typed.output.splitlines() if line.startswith(("no,", "yes,"))]
    assert len(rows) == 3
    assert float(rows[2][4]) > float(rows[0][4])  # epistemic
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("colour;income\nred;1\n")
    szilard("predict", run, lacking).refused("has no column 'joined', which the network was trained on")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("colour;income;joined\nred;1,5;yesterday\n")
    szilard("predict", run, wrong).refused("line 2, column 'joined' .* is 'yesterday', not a date")


def test_predictions_name_the_rows_that_were_left_out(tmp_path):
    out = tmp_path / "run"
    dropped = [*OPTIONS]
    dropped[dropped.index("mean")] = "drop"
    assert szilard("fit", "--data", table(tmp_path / "t.csv"), *dropped, *FIT, "--out", out).code == 0
    path = tmp_path / "new.csv"
    path.write_text("colour;income;joined\nred;1,5;03.04.2023\nred;;03.04.2023\nblue;7,5;03.04.2023\n")
    lines = [line.split(",") for line in szilard("predict", out, path).stdout.splitlines()]
    assert lines[0][:2] == ["line", "label"]
    assert [row[0] for row in lines[1:]] == ["2", "4"]
    found = json.loads(szilard("predict", out, path, "--json").stdout)
    assert [row["line"] for row in found["predictions"]] == [2, 4]
    assert found["left_out"] == [3]
    found = json.loads(szilard("predict", out, path, "--json", "--out", tmp_path / "answers.csv").stdout)
    assert (found["count"], found["left_out"]) == (2, [3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--missing", "median"), "missing must be"),
        (("--class-weights", "heavy"), "--class-weights must be balanced"),
        (("--group", "colour"), "has 2 different values, too few groups"),
        (("--ignore", "nothing"), "has no column 'nothing'"),
        (("--decimal", "x"), "decimal must be"),
        ((), r"is missing; there are 8 missing cells \(8 in 'income'\)"),
    ],
)
def test_errors_are_one_line(tmp_path, options, message):
    path = table(tmp_path / "t.csv", colours=("red", "blue"))
    arguments = ("--target", "churned", "--ignore", "id", "--date", "joined", "--out", tmp_path / "run")
    filled = () if not options or "--missing" in options else ("--missing", "drop")
    typed = szilard("fit", "--data", path, *arguments, *FIT, *filled, *options)
    assert typed.code == 2
    assert re.search(message, typed.output), typed.output
    assert "Traceback" not in typed.output
    assert not (tmp_path / "run" / "run.toml").exists()


def test_class_weights_are_for_classes(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("a,y\n" + "\n".join(f"{i % 7}.5,{i * 0.37}" for i in range(60)))
    typed = szilard(
        "fit", "--data", path, "--target", "y", *FIT, "--class-weights", "balanced", "--out", tmp_path / "r"
    )
    assert typed.code == 2
    assert "is for classification" in typed.output


def test_fit_describes_how_the_file_was_read(tmp_path, capsys):
    from szilard import data
    from szilard.cli.commands import fit
    from szilard.run.settings import DataSettings

    def description(rows, **how):
        path = tmp_path / "r.csv"
        path.write_text("\n".join(["a,y,g", *rows]))
        asked = DataSettings(str(path), target="y", ood="none", **how)
        fit._describe(data.load(str(path), target="y", ood="none", **how), asked)
        return capsys.readouterr().err.strip()

    ratings = [f"{i * 0.37:.2f},{i % 5},{i % 10}" for i in range(100)]
    parts = "100 examples (70 train, 15 valid, 15 test)"
    asks = "(--task regression predicts them as numbers)"
    assert (
        description(ratings, ignore=["g"])
        == f"r.csv: {parts}, 1 feature; classification with 5 classes {asks}"
    )
    assert description(ratings, task="regression", group="g").endswith(
        "test, split by g), 1 feature; regression"
    )
    two = [row.replace(f",{i % 5},", f",{'no' if i % 5 else 'yes'},") for i, row in enumerate(ratings)]
    assert description(two) == f"r.csv: {parts}, 2 features; classification with 2 classes"
    fit._describe(data.load("digits", ood="none"), DataSettings("digits"))
    assert capsys.readouterr().err == ""


def test_ambiguous_dates_are_warned_about(tmp_path):
    path = tmp_path / "t.csv"
    rows = "".join(f"2024-{1 + i % 12:02d}-{1 + i % 27:02d},{i % 7},{i % 12}\n" for i in range(120))
    path.write_text("t,x,y\n" + rows)
    typed = szilard("fit", "--data", path, "--target", "y", "--task", "regression", "--date", "t", *FIT, "--epochs",
                    "1", "--out", tmp_path / "run")  # fmt: skip
    assert typed.code == 0, typed.output
    (tmp_path / "new.csv").write_text("t,x\n05/03/2024,1\n")
    with pytest.warns(SzilardWarning, match="05/03/2024', are read as day/month/year"):
        szilard("predict", tmp_path / "run", tmp_path / "new.csv")
    (tmp_path / "iso.csv").write_text("t,x\n2024-03-05,1\n")
    assert "are read as" not in szilard("predict", tmp_path / "run", tmp_path / "iso.csv").output
