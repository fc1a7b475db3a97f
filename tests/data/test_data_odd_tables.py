"""Unusual and hostile CSV files."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from szilard import data
from szilard.data.table_reading import MOST_COLUMNS, read_table
from szilard.errors import SzilardError


def refused(path, content: bytes | str, **options) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SzilardError) as caught:
        data.load(path, **({"target": "y"} | options))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    assert not set(message) & set("\x1b\x00\u202e")
    return message


@pytest.mark.parametrize(
    "cell",
    [
        "0x10",
        "1_000",
        "１２",
        "٣",
        "1e",
        "1e5.5",
        "1,5,",
        "1,23,4",
        "--1",
        "1 2",
        "1d5",
        "½",
        "x" * 10**5,
        "\x1b[2J",
        "\u202e1",
    ],
)
def test_cells_that_are_not_numbers_are_refused(tmp_path, cell):
    rows = "".join(f'{i}.5;"{cell if i == 7 else i}";{i * 1.5}\n' for i in range(40))
    assert "line 9, column 'b' of" in refused(tmp_path / "a.csv", f"a;b;y\n{rows}")


@pytest.mark.parametrize("cell", ["1e999", "-1e999", "inf", "-Infinity", "9" * 400])
def test_cells_that_are_not_finite_are_refused(tmp_path, cell):
    rows = "".join(f"{i}.5;{cell if i == 7 else i};{i * 1.5}\n" for i in range(40))
    assert "not a finite number" in refused(tmp_path / "a.csv", f"a;b;y\n{rows}")


@pytest.mark.parametrize("cell", ["7", "+7", "7.", "7e0", "0.7E+1", "70e-1", "007", " 7 ", '"7"'])
def test_every_notation_of_seven(tmp_path, cell):
    (tmp_path / "a.csv").write_text(f"a,b\n1,{cell}\n")
    assert read_table(tmp_path / "a.csv").numbers(1) == 7


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    assert "zero byte" in refused(path, b"a,y\n1,2\n3,\x004\n")
    assert "not valid UTF-16" in refused(path, "a,y\n1,2\n".encode("utf-16")[:-1])
    assert "control characters" in refused(path, b"a,y\n1,\xe9\x07\n")
    assert "is not CSV" in refused(path, "a,y\n1," + "x" * 200_000 + "\n")
    assert "is not CSV" in refused(path, 'a,y\n1,"2\n' + "3,4\n" * 100)
    assert "is empty" in refused(path, b"\xef\xbb\xbf")
    assert "is empty" in refused(path, b"\n\n ,\n,\n")


def test_a_byte_order_mark_and_all_line_endings(tmp_path):
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + f"a,b{end}1,2{end}3,4".encode())
        table = read_table(tmp_path / "a.csv")
        assert table.names == ("a", "b")
        assert table.columns == (["1", "3"], ["2", "4"])


def test_very_many_columns(tmp_path):
    path = tmp_path / "a.csv"
    line = ",".join(map(str, range(MOST_COLUMNS + 1)))
    assert f"has {MOST_COLUMNS + 1:,} columns" in refused(path, f"{line}\n{line}\n")
    names = ",".join(f"c{i}" for i in range(20_000))
    assert "and 19,988 more" in refused(path, f"{names}\n{names}\n")
    assert "and 19,988 more" in refused(path, f"{names}\n{names}\n", target=None)
    assert "two columns named 'c7'" in refused(path, f"{names},c7\n{names},0\n")


def test_column_names_are_shortened_and_escaped(tmp_path):
    message = refused(tmp_path / "a.csv", "\x1b[2J\u202e,y" + "z" * 5000 + "\n1,2\n")
    assert r"\x1b[2J\u202e, yzz" in message
    message = refused(tmp_path / "a.csv", "".join(["n" * 9000, ",y\n", *(f",{i}.5\n" for i in range(40))]))
    assert "is missing" in message


def test_one_long_cell_among_many(tmp_path):
    """A NumPy array of text would take the longest cell's size for every cell: 4000 x 400 kB here."""
    long = "x" * 100_000
    rows = "".join(f"{i}.5,{long if i == 7 else 'ab'[i % 2]},{i % 3}\n" for i in range(4000))
    (tmp_path / "a.csv").write_text(f"a,text,y\n{rows}")
    tracemalloc.start()
    try:
        by_text = data.load(tmp_path / "a.csv", target="y", ood="none")
        as_class = data.load(tmp_path / "a.csv", target="text", ood="none", task="classification")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert as_class.classes == ("a", "b", long)
    assert by_text.classes == ("0", "1", "2")


def test_as_many_classes_as_rows(tmp_path):
    rows = "".join(f"{i}.5,label {i}\n" for i in range(20_000))
    assert "has no training example" in refused(tmp_path / "a.csv", f"a,y\n{rows}")
    rows = "".join(f"{i}.5,label {i},{i % 3}\n" for i in range(20_000))
    assert "14000 different values" in refused(tmp_path / "a.csv", f"a,text,y\n{rows}")


def test_text_labels_are_sorted(tmp_path):
    labels = ["Zebra", "ant", "Äpfel", "bee", "10 a", "=cmd"]
    rows = "".join(f"{i}.5,{labels[i % 6]}\n" for i in range(120))
    (tmp_path / "a.csv").write_text(f"a,y\n{rows}")
    got = data.load(tmp_path / "a.csv", target="y")
    assert got.classes == tuple(np.unique(np.array(labels)).tolist())
    assert got.train.y.bincount().tolist() == [14] * 6


def test_invalid_indices_of_published_splits_are_refused(tmp_path):
    folder = tmp_path / "yacht"
    folder.mkdir()
    (folder / "data.txt").write_text("1 2\n" * 30)
    (folder / "index_features.txt").write_text("0")
    (folder / "index_target.txt").write_text("1")
    (folder / "index_train_².txt").write_text("0")
    with pytest.raises(SzilardError, match="was not found: index_train_0"):
        data.load("yacht", tmp_path)
    for content in ("1e999", "nan", "-1", "0x1", "[", "1 2\n3", "\x00", "9" * 5000):
        (folder / "index_features.txt").write_text(content)
        with pytest.raises(SzilardError, match=r"index_features\.txt"):
            data.load("yacht", tmp_path)
