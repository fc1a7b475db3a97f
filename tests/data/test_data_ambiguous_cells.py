"""Ambiguous cells, and text targets that are not classes, give an error or a warning."""

import random
import warnings

import pytest
from cli_tools import szilard

from szilard import data
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, SzilardWarning


def write(path, header, rows, between=","):
    path.write_text("\n".join([header, *(between.join(map(str, row)) for row in rows), ""]))
    return path


def thousands(n=60, least=100, most=9999):
    r = random.Random(0)
    return [
        (f"{r.randint(least, most):,}".replace(",", "."), r.randint(18, 90), r.choice("ab")) for _ in range(n)
    ]


@pytest.mark.parametrize("between", [";", "\t", "|"])
def test_possible_thousands_points_are_refused_without_an_option(tmp_path, between):
    path = write(tmp_path / "t.csv", between.join("uvy"), thousands(), between)
    with pytest.raises(SzilardError, match=r"'u' of .* can be a thousands separator; add --decimal ,"):
        data.load(path, target="y")
    assert float(data.load(path, target="y", decimal=",").shift[0]) > 1000
    assert float(data.load(path, target="y", decimal=".").shift[0]) < 1000


def test_possible_thousands_points_in_comma_separated_files_give_a_warning(tmp_path):
    path = write(tmp_path / "t.csv", "u,v,y", thousands())
    with pytest.warns(SzilardWarning, match="'u' of .* read as a decimal point; add --decimal ,") as caught:
        data.load(path, target="y")
    assert len([one for one in caught if "decimal point" in str(one.message)]) == 1
    path = write(tmp_path / "t.csv", "u;v;y", thousands(least=1000), ";")
    with pytest.warns(SzilardWarning, match="'u' of .* read as a decimal point"):
        data.load(path, target="y")


@pytest.mark.parametrize(
    ("between", "cells"),
    [
        (",", ["1.234", "5.678", "9.001"]),  # numbers with three decimals
        (",", ["1.234", "12.5", "9"]),
        (";", ["1.234", "0.512", "9"]),
        (";", ["1.234", "1234", "9"]),  # 1234 has no thousands separator
        (",", ["1", "2", "3"]),
    ],
)
def test_unambiguous_numbers_with_points_give_no_warning(tmp_path, between, cells):
    table = read_table(write(tmp_path / "t.csv", between.join("ab"), [(cell, 1) for cell in cells], between))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table.numbers(0).tolist() == [float(cell) for cell in cells]


def test_commas_of_new_rows_that_contradict_training_are_refused(tmp_path):
    path = write(tmp_path / "t.csv", "u,v", [('"1,241"', 1), ('"2,500"', 2)])
    assert read_table(path).numbers(0).tolist() == [1241, 2500]
    with pytest.raises(SzilardError, match="as in the training file, or a thousands separator"):
        read_table(path, usual=",").numbers(0)
    assert read_table(path, ",").numbers(0).tolist() == [1.241, 2.5]


@pytest.mark.parametrize("cell", ["{} %", "{}%", "€{}", "{} kg", "$ {}", "{} km/h", "{}°C"])
def test_quantities_with_units_are_not_classes(tmp_path, cell):
    rows = [(i / 7, cell.format(f"{i * 0.37:.2f}")) for i in range(60)]
    path = write(tmp_path / "t.csv", "x,y", rows)
    with pytest.raises(SzilardError, match="looks like a quantity with a unit; write the numbers alone"):
        data.load(path, target="y")
    with pytest.raises(SzilardError, match="write the numbers alone"):
        data.load(path, target="y", task="regression")
    few = write(tmp_path / "f.csv", "x,y", [(i / 7, cell.format(i % 3)) for i in range(60)])
    assert len(data.load(few, target="y").classes) == 3


def test_names_with_numbers_are_classes(tmp_path):
    path = write(
        tmp_path / "t.csv", "x,y", [(i / 7, f"site {chr(97 + i % 25)}{i % 2}x{i % 25}") for i in range(400)]
    )
    assert data.load(path, target="y", seed=1).task == "classification"


def test_codes_keep_leading_zeros(tmp_path):
    path = write(tmp_path / "t.csv", "x,y", [(i / 7, f"{i % 3:03d}") for i in range(60)])
    assert data.load(path, target="y").classes == ("000", "001", "002")
    path = write(tmp_path / "t.csv", "x,y", [(i / 7, ["1", "01", "2.0"][i % 3]) for i in range(60)])
    assert data.load(path, target="y").classes == (
        "1",
        "01",
        "2.0",
    )  # names as written; 01 is another class than 1


def test_an_id_column_is_warned_about_in_training_only(tmp_path):
    r = random.Random(0)
    path = write(
        tmp_path / "t.csv", "id,x,y", [(1000 + i, f"{r.random():.3f}", r.choice("ab")) for i in range(60)]
    )
    with pytest.warns(SzilardWarning, match="looks like an id"):
        typed = szilard("fit", "--data", path, "--target", "y", "--network", "mlp:4", "--epochs", "1", "-q",
                        "--accelerator", "cpu", "--no-baselines", "--out", tmp_path / "run")  # fmt: skip
    assert typed.code == 0, typed.output
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert szilard("measure", tmp_path / "run").code == 0
