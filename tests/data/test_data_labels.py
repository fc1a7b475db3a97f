"""Class names are those of the cells, and classes are matched by name in another table."""

import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from szilard import data
from szilard.cli import network_data
from szilard.data import labels
from szilard.data.like_training import TrainingTable
from szilard.data.loading import load_like
from szilard.errors import SzilardError, SzilardWarning


def named(cells):
    index, names = labels.of_numbers(cells, np.array([float(cell) for cell in cells]))
    return index.tolist(), names


@pytest.mark.parametrize(
    ("cells", "index", "names"),
    [
        (["010", "001", "100"], [1, 0, 2], ("001", "010", "100")),
        (["1.0", "0.0", "1.0"], [1, 0, 1], ("0.0", "1.0")),
        (["1.0", "1", "2"], [0, 0, 1], ("1", "2")),  # one number written in two ways is one class
        (["01", "1", "1.0"], [1, 0, 0], ("1", "01")),  # a code with leading zeros is another class
        (["10", "9", "-3"], [2, 1, 0], ("-3", "9", "10")),
        (["+1", "-0", "0"], [1, 0, 0], ("0", "+1")),
    ],
)
def test_class_names_are_those_of_the_cells(cells, index, names):
    assert named(cells) == (index, names)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=30))
def test_whole_numbers_keep_their_order(values):
    index, names = named(list(map(str, values)))
    assert list(map(int, names)) == sorted(set(values))
    assert [int(names[i]) for i in index] == values


def test_classes_are_matched_with_those_of_a_network():
    assert labels.places(["q", "r"], ["p", "q"]) == [1, None]
    assert labels.places(["1.0", "0"], ["0", "1"]) == [1, 0]
    assert labels.places(["001", "010"], ["1", "10"]) == [0, 1]  # names of an earlier version
    assert labels.places(["1"], ["001", "010"]) == [0]
    assert labels.places(["1.0", "1", "01"], ["1", "01"]) == [0, 0, 1]
    assert labels.places(["0001"], ["01", "001"]) == [None]  # ambiguous
    assert labels.places(["1.5", "x", ""], ["1"]) == [None, None, None]


def rows(n=200, seed=0, classes=("001", "010"), colours="uv"):
    draws = random.Random(seed)
    found = []
    for _ in range(n):
        a = draws.gauss(0, 10)
        found.append(
            {"a": f"{a:.4f}", "b": f"{draws.gauss(5, 1):.4f}", "colour": draws.choice(colours),
             "y": classes[a > 0]}
        )  # fmt: skip
    return found


def write(path, found, order=("a", "b", "colour", "y")):
    path.write_text("\n".join([",".join(order), *(",".join(row[name] for name in order) for row in found)]))
    return str(path)


@pytest.fixture
def like(tmp_path):
    found = data.load(write(tmp_path / "a.csv", rows()), target="y", ood="none")
    assert found.classes == ("001", "010")
    return TrainingTable("network.pt", found.task, found.classes, found.reading, found.shift, found.scale)


def test_another_table_is_matched_by_column_names(tmp_path, like):
    other = rows(100, seed=1)
    straight = load_like(like, write(tmp_path / "b.csv", other), target="y", ood="none")
    reordered = load_like(
        like, write(tmp_path / "c.csv", other, ("y", "colour", "b", "a")), target="y", ood="none"
    )
    for part in ("train", "valid", "test"):
        one, two = getattr(straight, part), getattr(reordered, part)
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.y, two.y)
        raw = one.x * like.scale + like.shift
        assert torch.equal(raw[:, 0] > 0, one.y == 1)  # the class is matched by name


def test_a_table_may_lack_classes_and_categories(tmp_path, like):
    only = [row | {"colour": "u", "b": "5.0"} for row in rows(60, seed=2) if row["y"] == "010"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = load_like(like, write(tmp_path / "b.csv", only), target="y", ood="none")
    assert got.classes == ("001", "010")
    assert got.feature_names == ("a", "b", "colour=u", "colour=v")
    assert set(torch.cat([got.train.y, got.valid.y, got.test.y]).tolist()) == {1}
    assert [len(part) for part in (got.train, got.valid, got.test)] == [
        len(only) - 2 * round(0.15 * len(only)), round(0.15 * len(only)), round(0.15 * len(only))
    ]  # fmt: skip


def test_unknown_classes_and_missing_columns_are_refused(tmp_path, like):
    unknown = rows(60, seed=3, classes=("001", "007"))
    with pytest.raises(
        SzilardError, match=r"line \d+, column 'y' of .*b\.csv has a class '007', which network\.pt"
    ):
        load_like(like, write(tmp_path / "b.csv", unknown), target="y")
    with pytest.raises(
        SzilardError, match=r"has no column 'b', which network\.pt was trained on; it has a, colour, y"
    ):
        load_like(like, write(tmp_path / "c.csv", rows(60), ("a", "colour", "y")), target="y")
    with pytest.warns(SzilardWarning, match="a value in column 'colour' that training has not seen"):
        load_like(like, write(tmp_path / "d.csv", rows(60, colours="uw")), target="y", ood="none")
    with pytest.raises(SzilardError, match="has no column 'z'"):
        load_like(like, write(tmp_path / "e.csv", rows(60)), target="z")


def test_columns_that_are_not_features_may_be_missing(tmp_path, like):
    options = {"target": "y", "ignore": ["id"], "group": "household", "date": ["day=dmy"], "ood": "none"}
    got = load_like(like, write(tmp_path / "b.csv", rows(60)), **options)
    assert len(got.test) == 9
    with_groups = [row | {"household": str(i // 6)} for i, row in enumerate(rows(60))]
    names = ("household", "a", "b", "colour", "y")
    got = load_like(like, write(tmp_path / "c.csv", with_groups, names), **options)
    assert len(got.test) % 6 == 0


def test_regression_targets_use_the_units_of_training(tmp_path):
    found = [row | {"y": f"{3 * float(row['a']) + 7:.3f}"} for row in rows()]
    trained = data.load(write(tmp_path / "a.csv", found), target="y", ood="none")
    like = TrainingTable(
        "network.pt", trained.task, (), trained.reading, trained.shift, trained.scale, trained.target_shift,
        trained.target_scale,
    )  # fmt: skip
    few = [row | {"y": "8.5"} for row in found[:40]]  # constant: refused for training, accepted here
    got = load_like(like, write(tmp_path / "b.csv", few), target="y", ood="none")
    expected = (8.5 - trained.target_shift) / trained.target_scale
    assert got.test.y.tolist() == pytest.approx([expected] * 6)


def test_one_file_under_two_paths_is_recognised(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", rows(30))
    monkeypatch.chdir(tmp_path)
    assert network_data._same("a.csv", path)
    assert not network_data._same("b.csv", path)
    assert not network_data._same("digits", None)
    assert network_data._same("digits", "digits")


def divided(tmp_path, **how):
    lines = [f"{i * 0.37:.2f},{'c' if i >= 95 else 'ab'[i % 2]},{i},{'xyz'[i // 40]}" for i in range(100)]
    path = tmp_path / "late.csv"
    path.write_text("\n".join(["a,y,day,site", *lines]))
    return data.load(str(path), target="y", ood="none", **how)


def test_advice_on_classes_without_a_training_example(tmp_path):
    with pytest.raises(SzilardError, match=r"class 'c' of .* occurs only in rows that --time day puts after"):
        divided(tmp_path, time="day", ignore=["site"])
    with pytest.raises(
        SzilardError, match=r"class 'c' of .* all of its groups by --group site are in other parts"
    ):
        divided(tmp_path, group="site", ignore=["day"])
    with pytest.raises(SzilardError, match=r"no training example among 2; choose a larger n_train than 2"):
        divided(tmp_path, n_train=2, ignore=["site", "day"])


def test_several_targets_of_another_table(tmp_path):
    found = [row | {"u": f"{2 * float(row['a']):.3f}", "v": f"{100 * float(row['b']):.3f}"} for row in rows()]
    order = ("a", "b", "u", "v")
    trained = data.load(write(tmp_path / "a.csv", found, order), target="u,v", ood="none")
    like = TrainingTable(
        "network.pt", trained.task, (), trained.reading, trained.shift, trained.scale, trained.target_shift,
        trained.target_scale, trained.targets,
    )  # fmt: skip
    path = write(tmp_path / "b.csv", found[:60], ("v", "b", "u", "a"))
    got = load_like(like, path, target="u,v", ood="none")
    x = got.test.x.double() * trained.scale + trained.shift
    y = got.test.y.double() * trained.target_scale + trained.target_shift
    assert y.numpy() == pytest.approx(x.numpy() * [2, 100], rel=1e-3, abs=1e-3)
    with pytest.raises(SzilardError, match="was trained on the targets u, v, and --target names v, u; name"):
        load_like(like, path, target="v,u", ood="none")


def test_classes_that_are_partly_numbers(tmp_path):
    sizes = ["36", "38", "40", "S", "M"]
    path = tmp_path / "s.csv"
    path.write_text("x,size\n" + "".join(f"{i / 7},{sizes[i % 5]}\n" for i in range(200)))
    with pytest.raises(
        SzilardError, match="numbers and other cells, such as 'S' in line 5; add --task classification"
    ):
        data.load(path, target="size")
    found = data.load(path, target="size", task="classification")
    assert found.classes == ("36", "38", "40", "M", "S")
