"""Usage errors, and common mistakes in tables, give a message of one line."""

import random

import pytest
from cli_tools import szilard

from szilard import data
from szilard.errors import SzilardError


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["fit", "--foo"], "there is no option --foo"),
        (["fit", "--epoch", "3"], "there is no option --epoch, perhaps --epochs; see .* fit --help"),
        (["fit", "--epochs", "x"], "--epochs must be a whole number, not 'x'; see .* fit --help"),
        (["fit", "--epochs", "3", "--epochs=1.5"], "--epochs must be a whole number, not '1.5'"),
        (["fit", "--lr=fast"], "--lr must be a number, not 'fast'"),
        (["measure", "r", "--samples", ""], "--samples must be a whole number, not ''"),
        (["measure"], "measure needs RUN_OR_NETWORK; see"),
        (["measure", "a", "b"], "measure takes no further argument, and 'b' is one"),
        (["fit", "--epochs"], "--epochs needs a value; see"),
        (["fit", "--resume=3"], "--resume takes no value; see"),
        (["fitt"], "there is no command 'fitt', perhaps fit; see"),
        (["--foo"], "there is no option --foo; see"),
        (
            ["fit", "--missing", "--out", "r"],
            "--missing needs a value, and the next argument, --out, is an option",
        ),
        (
            ["predict", "a", "b", "-o", "--json"],
            "-o needs a value, and the next argument, --json, is an option",
        ),
        (["fit", "--target", "--epochs=3"], "--target needs a value, and the next argument, --epochs, is"),
        (["fit", "--foo\x1b[31m"], r"there is no option --foo\\x1b\[31m"),
    ],
)
def test_usage_errors_are_one_line(typed, sentence):
    szilard(*typed).refused(sentence)


def test_values_that_look_like_options_are_accepted(tmp_path):
    szilard("fit", "--data", tmp_path / "a.csv", "--target=--out").refused(
        "does not exist|no such file|cannot be"
    )
    szilard("compress", "none.pt", "--lam", -1).refused("--lam must be a positive number")


def test_help_is_printed():
    assert "Usage" in szilard("fit", "--help").output
    assert "Train" in szilard().output


ROWS = [
    f"{random.Random(i).gauss(0, 1):.3f}".replace(".", ",") + f";{i * 0.37:.2f};{'pq'[i % 2]}"
    for i in range(60)
]


def table(path, *first):
    path.write_text("\n".join([*first, "a;b;y", *ROWS]))
    return str(path)


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", "\ufeffsep=;"])
def test_a_separator_line_of_excel_is_read(tmp_path, first):
    plain = data.load(table(tmp_path / "a.csv"), target="y", ood="none", decimal=",")
    with_separator = data.load(table(tmp_path / "b.csv", first), target="y", ood="none", decimal=",")
    assert with_separator.feature_names == ("a", "b")
    assert (with_separator.train.x == plain.train.x).all()


def test_line_numbers_include_the_separator_line(tmp_path):
    path = tmp_path / "a.csv"
    table(path, "sep=;")
    path.write_text(path.read_text() + "\n1;2")
    with pytest.raises(SzilardError, match=r"line 63 of .* has 2 cells, but 3 are expected"):
        data.load(str(path), target="y")


def test_a_column_may_be_named_like_a_separator_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["sep=,y", *(f"{i * 0.37:.2f},{'pq'[i % 2]}" for i in range(60))]))
    assert data.load(str(path), target="y", ood="none").feature_names == ("sep=",)


def test_a_comment_line_is_named(tmp_path):
    with pytest.raises(SzilardError, match=r"line 3 of .* .* are expected; remove the comment in line 1"):
        data.load(table(tmp_path / "a.csv", "# of the lab"), target="y")


@pytest.mark.parametrize("typed", ["a=ymd", "a=", "a=DMY"])
def test_unknown_date_orders_are_refused(tmp_path, typed):
    with pytest.raises(SzilardError, match="has an unknown order of day and month; write =dmy or =mdy"):
        data.load(table(tmp_path / "a.csv"), target="y", date=[typed])


def test_other_file_suffixes_are_refused(tmp_path):
    path = table(tmp_path / "new.txt")
    with pytest.raises(
        SzilardError, match=r"end in \.csv, \.tsv or \.npz, and .*new\.txt has another suffix; save"
    ):
        data.load(path, target="y")
    with pytest.raises(SzilardError, match=r"table\.xlsx does not exist, and has another suffix"):
        data.load(tmp_path / "table.xlsx", target="y")
    with pytest.raises(SzilardError, match=r"there is no data set 'digits2' .perhaps digits"):
        data.load("digits2")


def test_an_option_with_one_value_cannot_be_repeated():
    szilard("fit", "--target", "a", "--target", "b").refused("--target is typed twice .* with commas, a,b")
    szilard("fit", "--group=g", "--group", "h").refused("--group is typed twice")
    typed = szilard("fit", "--data", "no.csv", "--ignore", "a", "--ignore", "b", "--target", "y")
    assert "typed twice" not in typed.output


def test_help_shows_no_type_of_flags_and_arguments_and_rewraps_paragraphs(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for command in ("predict", "methods", "report", "inspect"):
        found = szilard(command, "--help").output
        assert "<bool>" not in found
        assert "<list" not in found
    text = szilard("predict", "--help").output
    assert "comes from noise in the data, the epistemic part" in text


def test_files_of_another_kind_are_refused(tmp_path):
    table, junk = tmp_path / "t.csv", tmp_path / "junk.szd"
    table.write_text("a,b\n1,2\n")
    junk.write_text("junk\n")
    szilard("report", table).refused("t.csv is not a run folder; name a folder")
    szilard("compress", junk).refused("junk.szd is not a .szd file")
    szilard("fit", "--data", "mnist", "--data-root", tmp_path, "--out", tmp_path / "run").refused(
        "another data folder with --data-root or .*, or install torchvision and add --download"
    )
