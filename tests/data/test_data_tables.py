"""Real tables: missing cells, ids, groups and time."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from table_rows import loaded, plain_rows, write

from szilard import data
from szilard.data import group_time_splits
from szilard.data.reading import Column, Reading
from szilard.errors import SzilardError, SzilardWarning

# -- missing cells ---------------------------------------------------------------------------------------


def with_gaps():
    rows = [row.split(",") for row in plain_rows(100)]
    for i in range(0, 100, 10):
        rows[i][0] = "NA"
    rows[5][1] = ""
    return rows


def test_missing_cells_are_refused_with_a_count_by_column(tmp_path):
    path = write(tmp_path / "a.csv", map(",".join, with_gaps()))
    message = r"line 2, column 'a' .* is missing \('NA' means a missing value.*11 missing cells \(10 in 'a', 1 in 'b'\)"
    with pytest.raises(SzilardError, match=message) as caught:
        loaded(path)
    assert "--missing" in str(caught.value)


def test_drop_only_leaves_out_rows(tmp_path):
    whole = [",".join(row) for row in with_gaps() if "NA" not in row and "" not in row]
    with pytest.warns(SzilardWarning, match="11 of 100 rows with a missing cell are left out"):
        got = loaded(write(tmp_path / "a.csv", map(",".join, with_gaps())), missing="drop")
    want = loaded(write(tmp_path / "b.csv", whole))
    assert torch.equal(got.train.x, want.train.x)
    assert torch.equal(got.test.y, want.test.y)


def test_mean_fills_in_the_mean_of_the_training_rows(tmp_path):
    with pytest.warns(SzilardWarning, match="filled with the mean of the training rows"):
        got = loaded(write(tmp_path / "a.csv", map(",".join, with_gaps())), missing="mean")
    parts = torch.cat([got.train.x, got.valid.x, got.test.x])
    assert len(parts) == 100
    assert ((parts[:, 0].abs() < 1e-6).sum(), (parts[:, 1].abs() < 1e-6).sum()) == (10, 1)
    all_values = [float(row[0]) for row in with_gaps() if row[0] != "NA"]
    known = got.raw(got.train.x)[:, 0][got.train.x[:, 0].abs() > 1e-6]
    assert math.isclose(float(got.shift[0]), float(known.mean()), rel_tol=1e-4)
    assert not math.isclose(
        float(got.shift[0]), float(np.mean(all_values)), rel_tol=1e-4
    )  # not the mean of all rows


def test_rows_without_a_target_are_left_out_under_mean(tmp_path):
    rows = [
        row.rsplit(",", 1)[0] + ("," if i % 9 == 0 else f",{row.rsplit(',', 1)[1]}")
        for i, row in enumerate(plain_rows(90))
    ]
    with pytest.warns(SzilardWarning, match="10 of 90 rows"):
        got = loaded(write(tmp_path / "a.csv", rows), missing="mean")
    assert len(got.train) + len(got.valid) + len(got.test) == 80


def test_a_missing_category_is_filled_with_frequencies(tmp_path):
    rows = [
        f"{row.split(',')[0]},{['red', 'blue', 'blue', 'NA'][i % 4]},{row.split(',')[2]}"
        for i, row in enumerate(plain_rows(80))
    ]
    with pytest.warns(SzilardWarning):
        got = loaded(write(tmp_path / "a.csv", rows), missing="mean")
    assert got.feature_names == ("a", "b=blue", "b=red")
    raw = got.raw(got.train.x)[:, 1:]
    assert torch.allclose(raw.sum(1), torch.ones(len(raw)).double(), atol=1e-5)
    assert int((got.train.x[:, 1:].abs().amax(1) < 1e-6).sum()) > 5


@pytest.mark.parametrize("missing", ["none", "", "MEAN", "zero"])
def test_other_values_of_missing_are_refused(tmp_path, missing):
    with pytest.raises(SzilardError, match="missing must be 'refuse', 'drop' or 'mean'"):
        loaded(write(tmp_path / "a.csv", plain_rows()), missing=missing)


# -- ids, constants, columns left out -------------------------------------------------------------------


def test_ids_are_warned_about_and_can_be_left_out(tmp_path):
    rows = [f"{1000 + i},{row}" for i, row in enumerate(plain_rows())]
    path = write(tmp_path / "a.csv", rows, "customer,a,b,y")
    with pytest.warns(SzilardWarning, match="column 'customer' .* looks like an id.*--ignore 'customer'"):
        loaded(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = loaded(path, ignore=["customer"])
    assert torch.equal(got.train.x, loaded(write(tmp_path / "b.csv", plain_rows())).train.x)
    names = [f"name {i},{row}" for i, row in enumerate(plain_rows())]
    with pytest.raises(SzilardError, match="looks like an id, different in every row"):
        loaded(write(tmp_path / "c.csv", names, "who,a,b,y"))


def test_unique_quantities_give_no_id_warning(tmp_path):
    random = np.random.default_rng(0)
    quantities = random.permutation(10**6)[:60]
    rows = [f"{q},{row}" for q, row in zip(quantities, plain_rows(), strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded(write(tmp_path / "a.csv", rows, "income,a,b,y"))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"ignore": ["y"]}, "is the target and cannot also be named with --ignore"),
        ({"ignore": ["a", "b"]}, "no column of .* is left to predict 'y' from"),
        ({"ignore": ["c"]}, "has no column 'c'"),
        ({"ignore": ["a"], "group": "a"}, "is named with --ignore and with --group"),
        ({"group": "a", "time": "b"}, "choose one of them"),
        ({"ignore": "a"}, "ignore must be a list of columns"),
        ({"decimal": ";"}, "decimal must be"),
        ({"date": ["a"]}, "not a date such as"),
    ],
)
def test_invalid_column_options_are_refused(tmp_path, how, message):
    with pytest.raises(SzilardError, match=message):
        loaded(write(tmp_path / "a.csv", plain_rows()), **how)


def test_table_options_are_for_tables():
    with pytest.raises(SzilardError, match="--missing is for CSV files"):
        data.load("digits", missing="drop")


# -- splits by group and by time ------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 12), min_size=3, max_size=200).filter(lambda g: len(set(g)) >= 3),
    st.integers(0, 9),
)
def test_groups_are_not_split(groups, seed):
    parts = group_time_splits.split_by_group([str(g) for g in groups], (0.15, 0.15), seed, "x")
    assert sorted(torch.cat(parts).tolist()) == list(range(len(groups)))
    assert all(len(part) for part in parts)
    held = [{groups[i] for i in part.tolist()} for part in parts]
    assert sum(map(len, held)) == len(set(groups))


@given(st.lists(st.integers(0, 30), min_size=20, max_size=200).filter(lambda t: len(set(t)) >= 12))
def test_a_split_by_time_separates_past_from_future(times):
    order = sorted(times)
    if order[round(0.7 * len(order)) - 1] == order[-1] or order[round(0.85 * len(order)) - 1] == order[-1]:
        return  # too many examples have the last time
    if order[round(0.7 * len(order)) - 1] == order[round(0.85 * len(order)) - 1]:
        return
    parts = group_time_splits.split_by_time(np.array(times, float), (0.15, 0.15), "x")
    assert sorted(torch.cat(parts).tolist()) == list(range(len(times)))
    for before, after in itertools.pairwise(parts):
        assert max(times[i] for i in before.tolist()) < min(times[i] for i in after.tolist())


def test_sizes_of_parts_by_group_and_by_time():
    groups = [str(i // 5) for i in range(1000)]
    assert [len(p) for p in group_time_splits.split_by_group(groups, (0.15, 0.15), 0, "x")] == [700, 150, 150]
    assert [len(p) for p in group_time_splits.split_by_time(np.arange(1000.0), (0.15, 0.15), "x")] == [
        700,
        150,
        150,
    ]


def test_group_and_time_columns_are_not_features(tmp_path):
    rows = [f"{i // 4},{row}" for i, row in enumerate(plain_rows(100))]
    path = write(tmp_path / "a.csv", rows, "patient,a,b,y")
    assert loaded(path, group="patient").feature_names == ("a", "b")
    by_time = loaded(path, time="patient")
    assert by_time.feature_names == ("a", "b")
    values = [float(row.split(",")[1]) for row in rows[-16:]]
    tested = by_time.raw(by_time.test.x)[:, 0].tolist()
    assert all(min(abs(v - w) for w in values) < 1e-3 for v in tested)
    with pytest.raises(SzilardError, match="too few groups for 3 parts"):
        loaded(
            write(tmp_path / "b.csv", [f"{i % 2},{row}" for i, row in enumerate(plain_rows())], "p,a,b,y"),
            group="p",
        )


# -- stored readings ------------------------------------------------------------------------------------


def test_a_reading_is_stored_and_invalid_ones_are_refused():
    reading = Reading(
        (Column("a", "number"), Column("c", "category", ("x", "y")), Column("d", "date", ("days",), "mdy")),
        "mean",
        ",",
    )
    assert Reading.from_dict(reading.to_dict()) == reading
    assert reading.feature_names == ("a", "c=x", "c=y", "d:days")
    for wrong in (None, [], {"columns": 3}, {"columns": [], "missing": "x"}):
        with pytest.raises(ValueError, match=r"must be|has "):
            Reading.from_dict(wrong)
    for key, value in (("kind", "code"), ("order", "ymd"), ("values", ["q"]), ("name", "a\0")):
        wrong = reading.to_dict()
        wrong["columns"][0][key] = value
        with pytest.raises(ValueError, match=r"must be|has "):
            Reading.from_dict(wrong)
