"""--categorical: columns whose numbers are codes become one 0/1 feature a value, also for new rows."""

import json
import tomllib
import warnings

import numpy as np
import pytest
import torch
from cli_tools import szilard

from szilard import data
from szilard.data.reading import Reading
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, SzilardWarning


def table(path, codes, end=""):
    random = np.random.default_rng(0)
    rows = [f"{c}{end},{random.normal():.4f},{'yes' if hash_of(c) % 2 else 'no'}" for c in codes]
    path.write_text("\n".join(["shop,a,y", *rows, ""]))
    return path


def hash_of(code):
    return sum(map(ord, str(code)))


def loaded(path, **how):
    return data.load(path, target="y", ood="none", **how)


def test_codes_become_0_1_features(tmp_path):
    codes = [[2, 10, 1, 7][i % 4] for i in range(80)]
    path = table(tmp_path / "a.csv", codes)
    assert loaded(path).feature_names == ("shop", "a")
    got = loaded(path, categorical=["shop"])
    assert got.feature_names == ("shop=1", "shop=2", "shop=7", "shop=10", "a")
    shown = got.raw(got.train.x)[:, :4]
    assert torch.equal(shown.sum(1).round(), torch.ones(len(shown)))
    assert got.task == "classification"
    # Also by column number, and with codes written as floats.
    assert torch.equal(loaded(path, categorical=["0"]).train.x, got.train.x)
    floats = loaded(table(tmp_path / "b.csv", codes, ".0"), categorical=["shop"])
    assert floats.feature_names == got.feature_names
    assert torch.equal(floats.raw(floats.train.x)[:, :4], shown)


def test_codes_of_new_rows_are_matched_by_value(tmp_path):
    got = loaded(table(tmp_path / "a.csv", [3, 4, "05"] * 20), categorical=["shop"])
    reading = Reading.from_dict(json.loads(json.dumps(got.reading.to_dict())))
    new = tmp_path / "new.csv"
    new.write_text("a,shop\n0,3\n0,3.0\n0,5\n0,05\n0,9\n")
    x = reading.encode(read_table(new))
    names = reading.feature_names
    assert [[names[i] for i in row.nonzero()[0]] for row in x] == [
        ["shop=3"],
        ["shop=3"],
        [],
        ["shop=05"],
        [],
    ]


def test_missing_codes_are_filled_with_frequencies_and_give_no_id_warning(tmp_path):
    path = table(tmp_path / "a.csv", ["" if i % 10 == 3 else i % 3 for i in range(90)])
    with pytest.warns(SzilardWarning, match="9 in 'shop'"):
        got = loaded(path, categorical=["shop"], missing="mean")
    assert got.feature_names[:3] == ("shop=0", "shop=1", "shop=2")
    counting = table(tmp_path / "b.csv", range(60))
    with pytest.warns(SzilardWarning, match="looks like an id"):
        loaded(counting)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded(counting, categorical=["shop"], drop_constant=True)


def test_text_columns_with_many_values_are_accepted(tmp_path):
    path = table(tmp_path / "a.csv", [f"t{i % 40}" for i in range(200)])
    with pytest.raises(SzilardError, match=r"40 different values .* add --categorical 'shop'"):
        loaded(path)
    assert len(loaded(path, categorical=["shop"]).feature_names) == 41


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"categorical": ["y"]}, "is the target and cannot also be named with --categorical"),
        ({"categorical": ["a"], "ignore": ["a"]}, "is named with --ignore and with --categorical"),
        ({"categorical": ["shop"], "group": "shop"}, "is named with --group and with --categorical"),
        ({"categorical": ["shop"], "date": ["shop"]}, "date"),
        ({"categorical": ["nothing"]}, "has no column 'nothing'"),
        ({"categorical": "shop"}, "categorical must be a list of columns"),
        ({"categorical": ["a"]}, "has 280 different values, too many for --categorical"),
    ],
)
def test_invalid_columns_are_refused(tmp_path, how, message):
    with pytest.raises(SzilardError, match=message):
        loaded(table(tmp_path / "a.csv", [i % 20 for i in range(400)]), **how)


def test_categorical_is_for_tables():
    with pytest.raises(SzilardError, match="--categorical is for CSV files"):
        data.load("digits", categorical=["shop"])


def test_the_option_is_stored_and_used_on_the_command_line(tmp_path):
    path = table(tmp_path / "a.csv", [i % 5 for i in range(100)])
    typed = szilard(
        "fit", "--data", path, "--target", "y", "--categorical", "shop", "--network", "mlp:8", "--density", "0.5",
        "--epochs", "2", "--samples", "2", "--no-baselines", "-q", "--accelerator", "cpu", "--out", tmp_path / "run",
    )  # fmt: skip
    assert typed.code == 0, typed.output
    assert tomllib.loads((tmp_path / "run" / "run.toml").read_text())["data"]["categorical"] == ["shop"]
    assert szilard("measure", tmp_path / "run", "--samples", "2").code == 0
    new = tmp_path / "new.csv"
    new.write_text("a,shop\n0.5,3\n0.5,3.0\n0.5,77\n")
    with pytest.warns(
        SzilardWarning, match=r"line 4 of .* has a value in column 'shop' that training has not seen"
    ):
        predicted = szilard("predict", tmp_path / "run", new)
    assert predicted.code == 0, predicted.output
    rows = [line for line in predicted.output.splitlines() if line.startswith(("yes,", "no,"))]
    assert rows[0] == rows[1]
