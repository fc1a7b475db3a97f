"""A user's arrays in an npz file."""

import numpy as np
import pytest
import torch

from szilard import data
from szilard.data import image_range
from szilard.errors import SzilardError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3))
Y = np.arange(40) % 4


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_x_and_y_are_split(tmp_path):
    got = data.load(save(tmp_path / "a.npz", x=X, y=Y))
    assert (len(got.train), len(got.valid), len(got.test)) == (28, 6, 6)
    assert got.classes == ("0", "1", "2", "3")
    back = torch.cat([got.raw(part.x) for part in (got.train, got.valid, got.test)])
    assert np.allclose(np.sort(back.numpy(), 0), np.sort(X, 0), atol=1e-5)


def test_given_parts_are_kept(tmp_path):
    path = save(
        tmp_path / "a.npz", x_train=X[:30], y_train=Y[:30], x_test=X[30:], y_test=Y[30:], x_ood=X + 100
    )
    got = data.load(path)
    assert (len(got.train), len(got.valid), len(got.test)) == (26, 4, 10)
    assert np.allclose(got.raw(got.test.x), X[30:], atol=1e-5)
    assert got.ood_name == "x_ood"
    assert np.allclose(got.raw(got.ood.x), X + 100, atol=1e-3)
    assert data.load(path, ood="shuffled-columns").ood_name == "shuffled-columns"
    parts = {"x_train": X[:20], "y_train": Y[:20], "x_valid": X[20:30], "y_valid": Y[20:30]}
    got = data.load(save(tmp_path / "b.npz", **parts, x_test=X[30:], y_test=Y[30:]))
    assert got.valid.y.tolist() == Y[20:30].tolist()


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (RANDOM.integers(0, 256, (40, 8, 9), np.uint8), (1, 8, 9)),
        (RANDOM.integers(0, 256, (40, 3, 8, 9), np.uint8), (3, 8, 9)),
        (RANDOM.integers(0, 256, (40, 8, 9, 3), np.uint8), (3, 8, 9)),
        (RANDOM.random((40, 8, 9, 1)), (1, 8, 9)),
        (RANDOM.normal(size=(40, 5, 8, 9)) * 1000, (5, 8, 9)),
        (RANDOM.integers(-50, 50, (40, 8, 9)), (1, 8, 9)),
    ],
)
def test_images_of_every_layout(tmp_path, x, shape):
    got = data.load(save(tmp_path / "a.npz", x=x, y=Y))
    assert got.input_shape == shape
    assert got.ood_name == ("photographs" if shape[0] in (1, 3) else "shuffled-pixels")
    raw = image_range.shown(got.raw(got.train.x), got.image_range)
    assert (float(raw.min()), float(raw.max())) == pytest.approx((0, 1), abs=0.02)
    assert raw.std() > 0.05
    if x.dtype == np.uint8 and x.shape[-1] == 3:
        pixels = (torch.cat([got.raw(p.x) for p in (got.train, got.valid, got.test)]) * 255).round()
        want = x.transpose(0, 3, 1, 2).reshape(40, -1)
        assert sorted(pixels.flatten(1)[:, :6].tolist()) == sorted(want[:, :6].astype(float).tolist())


def test_floats_give_regression_strings_give_classes_and_task_overrides(tmp_path):
    assert data.load(save(tmp_path / "a.npz", x=X, y=X[:, :1] * 2)).task == "regression"
    named = data.load(save(tmp_path / "b.npz", x=X, y=np.array(["cat", "ant"])[Y % 2]))
    assert named.classes == ("ant", "cat")
    assert data.load(save(tmp_path / "c.npz", x=X, y=Y > 1)).classes == ("0", "1")
    assert data.load(save(tmp_path / "d.npz", x=X, y=Y), task="regression").task == "regression"
    assert data.load(save(tmp_path / "e.npz", x=X, y=Y.astype(float)), task="classification").n_outputs == 4


def with_value(array, index, value):
    array = array.astype(float)
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": with_value(X, (7, 2), np.nan), "y": Y}, r"x of .*a\.npz is NaN at row, column \[7, 2\]"),
        ({"x": with_value(X, (3, 0), np.inf), "y": Y}, r"is infinite at row, column \[3, 0\]"),
        ({"x": X, "y": with_value(Y, 5, np.nan)}, r"y of .* is NaN at index \[5\]"),
        ({"x": X, "y": Y - 1}, "label -1 at index 0 of y of .* is negative"),
        ({"x": X, "y": Y + (Y > 1)}, "class 2 of a.npz has no training example"),
        ({"x": X, "y": Y + 1000}, "has label 1003 but only 40 examples"),
        ({"x": X, "y": Y[:30]}, "has 40 inputs but 30 labels"),
        ({"x": X, "y": np.stack([Y, Y], 1)}, "2 columns of whole numbers other than 0 and 1"),
        ({"x": X[:, 0], "y": Y}, r"x of .* has shape \[40\]; inputs are features"),
        ({"x": X * [1, 0, 1], "y": Y}, r"column x1 of a\.npz is constant"),
        ({"x": np.array([["a"] * 3] * 40), "y": Y}, "not numbers"),
        ({"z": X}, "has z; it needs the arrays x and y"),
        ({"x_train": X, "y_train": Y}, "has no array x_test"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, "unlike x_train"),
        ({"x": X * 1e300, "y": Y}, "values too large or too close together"),
    ],
)
def test_invalid_arrays_give_one_line(tmp_path, arrays, message):
    with pytest.raises(SzilardError, match=message) as caught:
        data.load(save(tmp_path / "a.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_labels_that_are_not_integers_are_refused(tmp_path):
    path = save(tmp_path / "a.npz", x=X, y=with_value(Y, 2, 1.5))
    with pytest.raises(SzilardError, match=r"label 1.5 at index 2 of y of .* is not a whole number"):
        data.load(path, task="classification")


class Trap:
    executed = False

    def __reduce__(self):
        return setattr, (Trap, "executed", True)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([Trap()], dtype=object), y=Y)
    with pytest.raises(SzilardError, match=r"array x of .* has Python objects"):
        data.load(path)
    assert not Trap.executed
    np.array([Trap()], dtype=object).dump(path)
    with pytest.raises(SzilardError, match="not an npz archive"):
        data.load(path)
    assert not Trap.executed


@pytest.mark.parametrize("compressed", [False, True])
def test_a_truncated_archive_is_refused(tmp_path, compressed):
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, x=X, y=Y)
    whole = path.read_bytes()
    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(SzilardError, match="truncated"):
            data.load(path)
    path.unlink()
    with pytest.raises(SzilardError, match="does not exist"):
        data.load(path)


def test_flipped_bytes_give_data_or_a_szilard_error(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=X, y=Y)
    whole = path.read_bytes()
    for i in range(0, len(whole), 5):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :])
        try:
            got = data.load(path)
        except SzilardError:
            continue
        assert len(got.train) == 28
