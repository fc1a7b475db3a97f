"""The digits data set, and properties of every data set."""

import pytest
import torch

from szilard import data
from szilard.errors import SzilardError


@pytest.fixture(scope="module")
def digits() -> data.DataSet:
    return data.load("digits")


def test_digits_have_the_documented_attributes(digits):
    assert digits.task == "classification"
    assert digits.input_shape == (1, 8, 8)
    assert digits.n_outputs == 10
    assert digits.classes == tuple("0123456789")
    assert (len(digits.train), len(digits.valid), len(digits.test)) == (1079, 359, 359)
    for split in (digits.train, digits.valid, digits.test, digits.ood):
        assert split.x.dtype == torch.float32
        assert split.y.dtype == torch.int64
        assert split.x.shape[1:] == (1, 8, 8)
    assert digits.ood_name == "photographs"


def test_parts_of_digits_share_no_image(digits):
    from sklearn.datasets import load_digits

    every = sorted(map(tuple, load_digits().images.reshape(1797, 64).astype(int).tolist()))
    back = torch.cat([digits.raw(s.x) for s in (digits.train, digits.valid, digits.test)])
    assert sorted(map(tuple, (back * 16).round().int().view(1797, 64).tolist())) == every


def test_normalisation_uses_only_the_training_part(digits):
    assert digits.train.x.mean().abs() < 1e-5
    assert (digits.train.x.std(correction=0) - 1).abs() < 1e-5
    small = data.load("digits", n_train=50)
    assert not torch.equal(small.shift, digits.shift)
    assert torch.allclose(small.raw(small.train.x).mean(), small.shift.squeeze(), atol=1e-6)


def test_raw_undoes_normalise(digits):
    raw = digits.raw(digits.test.x)
    assert raw.min() >= 0
    assert raw.max() <= 1
    assert torch.allclose(digits.normalise(raw), digits.test.x, atol=1e-5)


def test_n_train_keeps_valid_and_test_and_balances_classes(digits):
    small = data.load("digits", n_train=100)
    assert small.train.y.bincount().tolist() == [10] * 10
    assert torch.equal(small.valid.y, digits.valid.y)
    assert torch.allclose(small.raw(small.test.x), digits.raw(digits.test.x), atol=1e-5)


def test_the_seed_determines_the_split_and_the_global_generator_is_unused(digits):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, other = data.load("digits"), data.load("digits", seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(again.train.x, digits.train.x)
    assert torch.equal(again.ood.x, digits.ood.x)
    assert not torch.equal(other.train.y, digits.train.y)


def test_names_lists_every_data_set():
    names = dict(data.names())
    assert {"digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "yacht"} <= names.keys()
    assert all(description for description in names.values())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fasion_mnist", {}, r"no data set 'fasion_mnist' \(perhaps fashion-mnist\); choose digits, mnist"),
        ("zzz", {}, "no data set 'zzz'; choose digits"),
        ("digits", {"n_train": 5000}, "n_train must be between 1 and 1079"),
        ("digits", {"n_train": 7}, r"has no training example \(7 examples, 10 classes\)"),
        ("digits", {"target": "y"}, "target chooses a column of a CSV file"),
        ("digits", {"split": 3}, "split 3 is for UCI sets"),
        ("digits", {"task": "regression"}, "digits is a classification set"),
        ("digits", {"task": "ranking"}, "task must be"),
        ("digits", {"ood": "photograph"}, r"no OOD set 'photograph' \(perhaps photographs\)"),
        ("digits", {"ood": "shuffled-columns"}, "does not fit digits, whose inputs are images"),
    ],
)
def test_wrong_arguments_give_one_line(name, options, message):
    with pytest.raises(SzilardError, match=message) as caught:
        data.load(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["DIGITS", "Digits"])
def test_names_are_not_case_sensitive(name):
    assert data.load(name, ood="none").name == "digits"


def test_ood_can_be_chosen_or_left_out(digits):
    assert data.load("digits", ood="none").ood is None
    shuffled = data.load("digits", ood="shuffled_pixels")
    assert shuffled.ood_name == "shuffled-pixels"
    real, mixed = digits.test.x.flatten(1), shuffled.ood.x.flatten(1)
    assert torch.equal(real.sort(1).values, mixed.sort(1).values)
    assert not torch.equal(real, mixed)


def test_photographs_are_varied_images_in_range(digits):
    raw = digits.ood.x * digits.scale + digits.shift
    assert len(raw) == len(digits.test)
    assert raw.min() >= -1e-6
    assert raw.max() <= 1 + 1e-6
    assert raw.flatten(1).std(1).median() > 0.03  # not uniform patches
    assert len(raw.flatten(1).unique(dim=0)) > 0.99 * len(raw)
