"""Numbers and dates in tables: formats, decimal marks, delimiters and encodings."""

import math
import warnings
from datetime import datetime, timedelta

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from table_rows import loaded, plain_rows, write

from szilard.data import cells, dates
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, SzilardWarning

# -- numbers --------------------------------------------------------------------------------------------


@given(st.floats(-1e9, 1e9).map(lambda v: round(v, 2)))
def test_every_number_format_gives_the_same_number(value):
    english, plain = f"{value:,.2f}", f"{value:.2f}"
    german = english.replace(",", "_").replace(".", ",").replace("_", ".")
    swiss, french = english.replace(",", "'"), german.replace(".", "\u202f")
    for cell, mark in ((plain, "."), (english, "."), (swiss, "."), (german, ","), (french, ",")):
        found = cells.numbers([cell], mark)
        assert found.wrong is None
        assert found.values[0] == value
        assert cells.is_number(cell)


@pytest.mark.parametrize(
    ("column", "marks"),
    [
        (["1,234", "5,678"], set()),
        (["1,234", "0,5"], {","}),
        (["1,234", "1,234,567"], {"."}),
        (["1.234", "2.345"], set()),
        (["1.234.567"], {","}),
        (["0.512"], {"."}),
        (["1.234,5"], {","}),
        (["1,234.5"], {"."}),
        (["0,5", "0.5"], {",", "."}),
    ],
)
def test_the_decimal_mark_is_inferred(column, marks):
    assert cells.marks(column) == marks


def test_an_ambiguous_column_follows_the_other_columns_then_the_delimiter(tmp_path):
    rows = ["1.234;0,5;1", "2.345;1,5;2"]
    assert read_table(write(tmp_path / "a.csv", rows, "a;b;y")).numbers(0).tolist() == [1234, 2345]
    rows = ["1,234;0.5;1", "2,345;1.5;2"]
    assert read_table(write(tmp_path / "a.csv", rows, "a;b;y")).numbers(0).tolist() == [1234, 2345]
    rows = ["1,234;7;1", "2,345;8;2"]
    assert read_table(write(tmp_path / "a.csv", rows, "a;b;y")).numbers(0).tolist() == [1.234, 2.345]
    rows = ['"1,234",7,1', '"2,345",8,2']
    assert read_table(write(tmp_path / "a.csv", rows)).numbers(0).tolist() == [1234, 2345]
    rows = ["1,234\t7\t1", "2,345\t8\t2"]
    path = write(tmp_path / "a.csv", rows, "a\tb\ty")
    with pytest.raises(SzilardError, match="'1,234', and the comma can be"):
        read_table(path).numbers(0)
    assert read_table(path, ",").numbers(0).tolist() == [1.234, 2.345]
    assert read_table(path, ".").numbers(0).tolist() == [1234, 2345]


def test_mixed_decimal_marks_are_refused(tmp_path):
    path = write(tmp_path / "a.csv", ["0,5;1;1", "0.5;2;2"], "a;b;y")
    with pytest.raises(SzilardError, match=r"decimal points \(line 3\) and decimal commas \(line 2\)"):
        read_table(path).numbers(0)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_encodings_and_line_ends_change_nothing(tmp_path, delimiter, encoding, end):
    rows = [row.replace("yes", "grün").replace(",", delimiter) for row in plain_rows()]
    with warnings.catch_warnings():
        warnings.simplefilter("error" if encoding != "latin-1" else "ignore", SzilardWarning)
        got = loaded(write(tmp_path / "a.csv", rows, f"a{delimiter}b{delimiter}y", end, encoding))
    want = loaded(write(tmp_path / "b.csv", [row.replace("yes", "grün") for row in plain_rows()]))
    assert got.classes == ("grün", "no")
    assert torch.equal(got.train.x, want.train.x)
    assert torch.equal(got.test.y, want.test.y)


def test_latin_1_gives_a_warning(tmp_path):
    rows = [row.replace("yes", "grün") for row in plain_rows()]
    with pytest.warns(SzilardWarning, match="is not UTF-8 and is read as Latin-1"):
        loaded(write(tmp_path / "a.csv", rows, encoding="latin-1"))


def test_trailing_commas_are_not_a_column(tmp_path):
    want = loaded(write(tmp_path / "a.csv", plain_rows()))
    for header in ("a,b,y,", "a,b,y"):
        got = loaded(write(tmp_path / "b.csv", [f"{row}," for row in plain_rows()], header))
        assert got.feature_names == ("a", "b")
        assert torch.equal(got.train.x, want.train.x)


def test_unquoted_decimal_commas_are_explained(tmp_path):
    path = write(tmp_path / "a.csv", ["1,5,2,no", "2,5,yes"])
    with pytest.raises(SzilardError, match=r"line 2 of .* has 4 cells, but 3 are expected; .* in quotes"):
        read_table(path)


# -- dates ----------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_every_date_format_gives_the_same_day(moment):
    want = (moment.replace(microsecond=0) - datetime(1970, 1, 1)) / timedelta(days=1)
    for form, order in (
        ("%Y-%m-%d %H:%M:%S", "dmy"), ("%Y-%m-%dT%H:%M:%SZ", "dmy"), ("%d.%m.%Y %H:%M:%S", "mdy"),
        ("%d/%m/%Y %H:%M:%S", "dmy"), ("%m/%d/%Y %H:%M:%S", "mdy"), ("%Y%m%d %H:%M:%S", "dmy"),
        ("%d %b %Y %H:%M:%S", "dmy"), ("%B %d, %Y %H:%M:%S", "dmy"), ("%m/%d/%Y %I:%M:%S %p", "mdy"),
    ):  # fmt: skip
        text = moment.strftime(form)
        if form.startswith("%Y") or "%Y" in form:
            text = text.replace(moment.strftime("%Y"), f"{moment.year:04d}")
        assert dates.days([text], order)[0] == pytest.approx(want, abs=1e-8)


def test_invalid_dates_are_nan():
    for cell in (
        "2024-02-30",
        "31.04.2024",
        "2024-13-01",
        "yesterday",
        "12",
        "2024-01-01 25:00",
        "1.2.3",
        "",
    ):
        assert math.isnan(dates.days([cell], "dmy")[0])


def dated(n=120, form="%Y-%m-%d"):
    random = np.random.default_rng(1)
    start = datetime(2020, 1, 5)
    moments = [start + timedelta(days=int(d)) for d in random.integers(0, 900, n)]
    return [f"{random.normal():.4f},{m.strftime(form)},{random.normal():.4f}" for m in moments], moments


def test_a_date_column_becomes_features_on_request(tmp_path):
    rows, moments = dated()
    path = write(tmp_path / "a.csv", rows, "a,when,y")
    with pytest.raises(SzilardError, match="holds dates: turn them into numbers with --date 'when'"):
        loaded(path)
    got = loaded(path, date=["when"])
    assert got.feature_names == (
        "a", "when:days", "when:year_sin", "when:year_cos", "when:week_sin", "when:week_cos",
    )  # fmt: skip
    raw = torch.cat([got.raw(part.x) for part in (got.train, got.valid, got.test)])
    days = sorted((m - datetime(1970, 1, 1)).days for m in moments)
    assert raw[:, 1].sort().values.tolist() == pytest.approx(days, abs=0.01)


def test_ambiguous_dates_are_refused_without_an_order(tmp_path):
    path = write(tmp_path / "a.csv", dated(form="%m/%d/%Y")[0], "a,when,y")
    assert loaded(path, date=["when"]).reading.columns[1].order == "mdy"
    rows = [f"{i % 7}.5,0{1 + i % 9}/0{1 + i // 9 % 9}/2024,{i * 0.3}" for i in range(80)]
    path = write(tmp_path / "a.csv", rows, "a,when,y")
    with pytest.raises(SzilardError, match="do not show which is the day; add --date when=dmy or =mdy"):
        loaded(path, date=["when"])
    days = [loaded(path, date=[f"when={order}"]).raw(torch.zeros(6))[1] for order in ("dmy", "mdy")]
    assert days[0] != days[1]
