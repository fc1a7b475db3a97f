"""The UCI reader, on small files written here in the published layout."""

import numpy as np
import pytest
import torch

from szilard import data
from szilard.errors import SzilardError


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "uci" / "yacht"
    folder.mkdir(parents=True)
    table = np.random.default_rng(0).normal(5, 3, (60, 5))
    np.savetxt(folder / "data.txt", table)
    np.savetxt(folder / "index_features.txt", [0, 1, 3, 4], fmt="%d")
    np.savetxt(folder / "index_target.txt", [2], fmt="%d")
    for split in range(3):
        order = np.random.default_rng(split).permutation(60)
        np.savetxt(folder / f"index_train_{split}.txt", order[:54], fmt="%d")
        np.savetxt(folder / f"index_test_{split}.txt", order[54:], fmt="%d")
    return folder


def test_the_published_split_is_used_and_valid_is_taken_from_train(folder):
    got = data.load("yacht", folder.parent.parent, split=1)
    table = np.loadtxt(folder / "data.txt")
    train, test = (np.loadtxt(folder / f"index_{part}_1.txt", dtype=int) for part in ("train", "test"))
    assert (len(got.train), len(got.valid), len(got.test)) == (49, 5, 6)
    assert got.task == "regression"
    assert got.n_outputs == 1
    assert got.classes == ()
    assert np.allclose(got.raw(got.test.x), table[test][:, [0, 1, 3, 4]], atol=1e-5)
    target = torch.cat([got.train.y, got.valid.y]) * got.target_scale + got.target_shift
    assert np.allclose(sorted(target.tolist()), sorted(table[train, 2]), atol=1e-5)
    assert got.train.y.dtype == torch.float32
    assert got.train.y.mean().abs() < 1e-6
    assert (got.train.y.std(correction=0) - 1).abs() < 1e-5
    assert got.train.x.mean(0).abs().max() < 1e-6


@pytest.mark.parametrize("up", [0, 1, 2])
def test_root_may_be_the_data_set_or_a_folder_above(folder, up):
    root = [folder, *folder.parents][up]
    assert len(data.load("yacht", root).test) == 6


def test_shuffled_columns_keep_each_column_and_change_the_rows(folder):
    got = data.load("yacht", folder)
    assert got.ood_name == "shuffled-columns"
    assert torch.equal(got.ood.x.sort(0).values, got.test.x.sort(0).values)
    assert not torch.equal(got.ood.x, got.test.x)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("data.txt", None, r"data\.txt is expected in"),
        ("index_test_0.txt", None, r"index_test_0\.txt is expected in"),
        ("data.txt", "1 2 3\n4 5\n", "is not a table of numbers"),
        ("data.txt", "a b c\n", "is not a table of numbers"),
        ("index_train_0.txt", "0\n1\n99\n", r"index_train_0\.txt has the index 99, but indices are 0 to 59"),
        ("index_features.txt", "0\n1\n2\n", "must name one column that is not a feature"),
        ("index_train_0.txt", "\n".join(map(str, range(60))), "overlap"),
    ],
)
def test_damaged_files_are_refused(folder, file, content, message):
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(SzilardError, match=message):
        data.load("yacht", folder.parent)


def test_nan_is_named_by_row_and_column(folder):
    lines = (folder / "data.txt").read_text().splitlines()
    lines[7] = "1 2 nan 4 5"
    (folder / "data.txt").write_text("\n".join(lines))
    with pytest.raises(SzilardError, match=r"data\.txt of yacht is NaN at row, column \[7, 2\]"):
        data.load("yacht", folder)


def test_the_error_on_an_unknown_split_lists_the_valid_ones(folder):
    with pytest.raises(SzilardError, match=r"split 20 of yacht .* choose 0 to 2"):
        data.load("yacht", folder, split=20)
