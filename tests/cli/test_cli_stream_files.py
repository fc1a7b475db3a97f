"""szilard stream: later files, and input that is refused."""

from __future__ import annotations

import json
import random
import warnings

import pytest
from cli_tools import szilard
from stream_tables import COLUMNS, FILES, contents, drifting, table

from szilard.data.column_warnings import ColumnWarning


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
