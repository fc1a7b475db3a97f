"""Warnings about copies of training rows in the test part, and about groups too few for the wanted sizes."""

import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from szilard import data
from szilard.data import duplicates, group_time_splits
from szilard.data.dataset import Split
from szilard.data.raw import Raw
from szilard.errors import SzilardWarning


def raw(train, test):
    """Training and test parts; the last number of each row is the target."""
    parts = [torch.tensor(rows, dtype=torch.float64).reshape(len(rows), -1) for rows in (train, test, test)]
    return Raw("regression", *(Split(rows[:, :-1], rows[:, -1]) for rows in parts))


numbers = st.sampled_from([0.0, -0.0, 1.0, 2.5])
table = st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=12)


@given(table, table)
def test_copies_are_counted(train, test):
    assert duplicates.count(raw(train, test)) == sum(row in set(train) for row in test)


def test_another_target_is_another_example():
    assert duplicates.count(raw([(1, 2, 0)], [(1, 2, 1), (1, 2, 0)])) == 1


def csv(path, rows):
    path.write_text("\n".join(["a,b,y", *rows]))
    return str(path)


def random_rows(n, digits=4):
    draws = random.Random(0)
    return [
        f"{draws.gauss(0, 1):.{digits}f},{draws.gauss(0, 1):.{digits}f},{draws.choice('pq')}"
        for _ in range(n)
    ]


def test_a_table_of_copies_is_warned_about(tmp_path):
    path = csv(tmp_path / "three.csv", random_rows(100) * 3)
    with pytest.warns(
        SzilardWarning, match=r"\d\d of 4\d test examples of three\.csv are also in the training part"
    ):
        data.load(path, target="y", ood="none")


def test_different_rows_and_columns_of_few_values_give_no_warning(tmp_path):
    draws = random.Random(1)
    once = random_rows(300)
    chance = [f"{draws.randrange(2)},{draws.choice('uvw')},{draws.choice('pq')}" for _ in range(300)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.load(csv(tmp_path / "once.csv", once), target="y", ood="none")
        data.load(csv(tmp_path / "chance.csv", chance), target="y", ood="none")


def test_copied_arrays_are_warned_about(tmp_path):
    draws = np.random.default_rng(0)
    x, y = draws.random((60, 5, 5)), draws.integers(0, 2, 60)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    with pytest.warns(
        SzilardWarning, match=r"\d+ of 20 test examples of a\.npz .* remove them from one of the two"
    ):
        found = data.load(str(tmp_path / "a.npz"), ood="none")
    assert len(found.test) == 20


def test_few_groups_are_warned_about():
    with pytest.warns(SzilardWarning, match=r"g has 3 groups, .* 70, 15, 15 %: .* have 100, 100, 100 rows"):
        parts = group_time_splits.split_by_group(list("xyz") * 100, (0.15, 0.15), 0, "g")
    assert [len(part) for part in parts] == [100, 100, 100]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group_time_splits.split_by_group([str(i // 5) for i in range(300)], (0.15, 0.15), 0, "g")


def test_chance_matches_give_no_warning(tmp_path):
    generator = random.Random(0)
    path = tmp_path / "t.csv"
    rows = "".join(f"{generator.random():.3f},{generator.choice('ab')}\n" for _ in range(400))
    path.write_text("x,y\n" + rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.load(path, target="y")
