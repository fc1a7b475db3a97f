"""A user's CSV table."""

import numpy as np
import pytest
import torch

from szilard import data
from szilard.errors import SzilardError


def write(path, header, rows, delimiter=","):
    lines = [delimiter.join(header)] if header else []
    lines += [delimiter.join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(n=100, seed=0):
    random = np.random.default_rng(seed)
    return [[f"{a:.6f}", f"{b:.6f}", f"{a - b:.6f}"] for a, b in random.normal(size=(n, 2))]


def test_a_numeric_target_gives_regression_in_its_units(tmp_path):
    table = rows()
    got = data.load(write(tmp_path / "a.csv", ["u", "v", "w"], table), target="w")
    assert got.name == "a.csv"
    assert got.task == "regression"
    assert got.feature_names == ("u", "v")
    assert (len(got.train), len(got.valid), len(got.test)) == (70, 15, 15)
    parts = (got.train, got.valid, got.test)
    x = torch.cat([got.raw(part.x) for part in parts])
    y = torch.cat([part.y for part in parts]) * got.target_scale + got.target_shift
    back = sorted(
        [round(a, 4), round(b, 4), round(c, 4)] for (a, b), c in zip(x.tolist(), y.tolist(), strict=True)
    )
    want = sorted([round(float(cell), 4) for cell in row] for row in table)
    assert np.allclose(back, want, atol=2e-4)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("target", ["w", "2", "-1"])
def test_delimiters_and_column_numbers(tmp_path, delimiter, target):
    path = write(tmp_path / "a.csv", ["u", "v", "w"], rows(), delimiter)
    assert data.load(path, target=target).feature_names == ("u", "v")


def test_a_file_without_header_numbers_its_columns(tmp_path):
    got = data.load(write(tmp_path / "a.csv", None, rows()), target="0")
    assert got.feature_names == ("1", "2")
    assert sum(map(len, (got.train, got.valid, got.test))) == 100


def test_text_and_few_integers_are_classes(tmp_path):
    table = [[*row[:2], "yes" if i % 4 else "no", 10 * (i % 3)] for i, row in enumerate(rows())]
    path = write(tmp_path / "a.csv", ["u", "v", "text", "whole"], table)
    text = data.load(path, target="text")
    assert text.task == "classification"
    assert text.classes == ("no", "yes")
    counts = [split.y.bincount().tolist() for split in (text.train, text.valid, text.test)]
    assert sum(c[0] for c in counts) == 25
    assert 17 <= counts[0][0] <= 18  # stratified
    whole = data.load(path, target="whole")
    assert whole.classes == ("0", "10", "20")
    assert data.load(path, target="whole", task="regression").task == "regression"


def test_a_text_feature_becomes_one_column_for_each_value(tmp_path):
    table = [[row[0], ["red", "green", "blue"][i % 3], row[2]] for i, row in enumerate(rows())]
    got = data.load(write(tmp_path / "a.csv", ["u", "colour", "w"], table), target="w")
    assert got.feature_names == ("u", "colour=blue", "colour=green", "colour=red")
    hot = got.raw(got.test.x)[:, 1:].float()
    assert torch.allclose(hot.sum(1), torch.ones(15), atol=1e-5)
    assert torch.allclose(hot.max(1).values, torch.ones(15), atol=1e-5)
    hot = got.raw(got.ood.x)[:, 1:].float()  # shuffled, but still one colour a row
    assert torch.allclose(hot.max(1).values, torch.ones(15), atol=1e-5)
    assert torch.allclose(hot.sum(1), torch.ones(15), atol=1e-5)


def test_large_numbers_close_together_keep_their_precision(tmp_path):
    table = [[1.7e9 + i, i % 7, i * 0.5] for i in range(100)]
    got = data.load(write(tmp_path / "a.csv", ["time", "v", "w"], table), target="w")
    x = torch.cat([got.train.x, got.valid.x, got.test.x])[:, 0].sort().values
    assert torch.allclose(x.diff(), x.diff().mean().expand(99), rtol=1e-3)
    times = torch.cat([got.raw(part.x)[:, 0] for part in (got.train, got.valid, got.test)]).sort().values
    assert torch.allclose(times - 1.7e9, torch.arange(100.0).double(), atol=1e-4)
    assert torch.equal(got.normalise(got.raw(got.test.x)), got.test.x)


def broken(line, column, cell):
    table = rows(40)
    table[line - 2][column] = cell
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (broken(5, 1, "nan"), r"line 5, column 'v' of .*a\.csv is missing"),
        (broken(7, 0, ""), r"line 7, column 'u' of .*a\.csv is missing"),
        (broken(9, 2, "?"), r"line 9, column 'w' of .*a\.csv is missing"),
        (broken(11, 1, "inf"), "line 11, column 'v' .* is 'inf', not a finite number"),
        (broken(12, 0, "twelve"), "line 12, column 'u' .* is 'twelve', not a number"),
        ([[1.5, *row[1:]] for row in rows(40)], r"column u of a\.csv is constant in the training rows"),
        ([[1, 2, row[2]] for row in rows(40)], r"columns u, v of a\.csv are constant"),
        ([[*row[:2], 3.5] for row in rows(40)], "target of .* is 3.5 in every training row"),
        ([[*row[:2], 3] for row in rows(40)], "single class, '3'"),
        ([[*row[:2], "yes"] for row in rows(40)], "single class, 'yes'"),
        ([[f"name {i}", *row[1:]] for i, row in enumerate(rows(80))], "is text with .* different values"),
        (rows(3), "3 examples are too few"),
        ([], "has a line of names but no rows"),
        ([*rows(5), [1, 2]], "line 7 of .* has 2 cells, but 3 are expected"),
    ],
)
def test_invalid_tables_give_one_line(tmp_path, table, message):
    path = write(tmp_path / "a.csv", ["u", "v", "w"], table)
    with pytest.raises(SzilardError, match=message) as caught:
        data.load(path, target="w")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"u,u,w\n1,2,3\n", "two columns named 'u'"),
        (b"w\n1\n2\n", "has only the column 'w'"),
        (b"u,w\n\xff\x07,2\n", "control characters"),
        (b'u,w\n"1,2\n', "is not CSV"),
    ],
)
def test_invalid_files_are_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(SzilardError, match=message):
        data.load(tmp_path / "a.csv", target="w")


def test_the_target_must_be_given_and_exist(tmp_path):
    path = write(tmp_path / "a.csv", ["u", "v", "width"], rows())
    with pytest.raises(SzilardError, match="it has u, v, width"):
        data.load(path)
    with pytest.raises(SzilardError, match="no column 'widht'; choose one of u, v, width, perhaps 'width'"):
        data.load(path, target="widht")
    with pytest.raises(SzilardError, match="does not exist"):
        data.load(tmp_path / "b.csv", target="u")


def test_the_task_must_suit_the_target(tmp_path):
    table = [[*row, "yes" if i % 2 else "no"] for i, row in enumerate(rows())]
    path = write(tmp_path / "a.csv", ["u", "v", "w", "text"], table)
    with pytest.raises(SzilardError, match="is text and not a quantity"):
        data.load(path, target="text", task="regression")
    with pytest.raises(SzilardError, match=r"line 2, column 'w' .* which is not a class label"):
        data.load(path, target="w", task="classification")


def test_constant_columns_are_dropped_on_request(tmp_path):
    path = write(tmp_path / "a.csv", ["u", "v", "w"], [[1.5, *row[1:]] for row in rows()])
    got = data.load(path, target="w", drop_constant=True)
    assert got.feature_names == ("v",)
    assert got.input_shape == (1,)
    assert got.ood.x.shape == (15, 1)
