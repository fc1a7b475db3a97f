"""Batches: every example once, the same order on every machine, equal shares for all ranks."""

import hashlib
from itertools import chain

import numpy as np
import pytest
import torch

from szilard.data import Split, batches, n_batches
from szilard.data.augment import crop_flip
from szilard.errors import SzilardError


def numbered(n: int) -> Split:
    return Split(torch.arange(n, dtype=torch.float32).view(n, 1), torch.arange(n))


def seen(split: Split, size: int, **options: int) -> list[list[int]]:
    return [y.tolist() for _, y in batches(split, size, **options)]


def test_an_epoch_has_every_example_once_and_keeps_the_last_short_batch():
    parts = seen(numbered(23), 5, seed=0, epoch=0)
    assert [len(part) for part in parts] == [5, 5, 5, 5, 3]
    order = list(chain.from_iterable(parts))
    assert sorted(order) == list(range(23))
    assert order != list(range(23))
    assert len(parts) == n_batches(23, 5)


@pytest.mark.parametrize(
    ("n", "size", "expected"),
    [(129, 32, [32, 32, 32, 33]), (33, 32, [33]), (1, 32, [1]), (3, 1, [1, 1, 1]), (66, 32, [32, 32, 2])],
)
def test_a_single_last_example_joins_the_batch_before(n, size, expected):
    parts = seen(numbered(n), size, seed=0, epoch=0)
    assert [len(part) for part in parts] == expected
    assert n_batches(n, size) == len(expected)
    assert sorted(chain.from_iterable(parts)) == list(range(n))


def test_inputs_and_labels_stay_together():
    for x, y in batches(numbered(50), 8, seed=3, epoch=2):
        assert x[:, 0].long().tolist() == y.tolist()


def test_the_order_depends_only_on_seed_and_epoch():
    torch.manual_seed(1)
    first = seen(numbered(100), 10, seed=1, epoch=2)
    torch.manual_seed(2)
    assert seen(numbered(100), 10, seed=1, epoch=2) == first
    for other in ({"seed": 1, "epoch": 3}, {"seed": 2, "epoch": 2}, {"seed": 2, "epoch": 1}):
        assert seen(numbered(100), 10, **other) != first


def test_the_order_is_the_same_on_every_machine():
    # An independent computation: blake2b seeds a Mersenne twister (numpy's), which drives a Fisher-Yates shuffle.
    digest = hashlib.blake2b(b"('shuffle', 3, 4)", digest_size=8).digest()
    twister = np.random.RandomState((int.from_bytes(digest, "little") >> 1) & 0xFFFFFFFF)
    order = list(range(50))
    for i in range(49):
        j = i + int(twister.randint(0, 2**32, dtype=np.uint32)) % (50 - i)
        order[i], order[j] = order[j], order[i]
    assert seen(numbered(50), 50, seed=3, epoch=4) == [order]


def test_the_global_random_generator_is_not_used():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(batches(Split(torch.zeros(9, 1, 8, 8), torch.zeros(9)), 4, seed=0, epoch=0, augment="crop-flip"))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("n", "world"), [(20, 4), (23, 4), (3, 4), (1, 3), (10, 1)])
def test_ranks_get_equal_numbers_and_cover_all_examples(n, world):
    shares = [seen(numbered(n), 4, seed=0, epoch=0, rank=rank, world=world) for rank in range(world)]
    assert len({tuple(len(part) for part in share) for share in shares}) == 1
    assert {y for share in shares for part in share for y in part} == set(range(n))
    assert {len(share) for share in shares} == {n_batches(n, 4, world)}
    assert sum(len(part) for share in shares for part in share) - n < world


@pytest.mark.parametrize("augment", [None, "crop-flip"])
def test_a_resumed_epoch_gives_the_remaining_batches(augment):
    split = Split(torch.rand(22, 3, 6, 6), torch.arange(22))
    whole = list(batches(split, 4, seed=0, epoch=1, augment=augment))
    rest = list(batches(split, 4, seed=0, epoch=1, augment=augment, start=3))
    assert len(rest) == len(whole) - 3
    for (x, y), (x0, y0) in zip(rest, whole[3:], strict=True):
        assert torch.equal(x, x0)
        assert torch.equal(y, y0)


def test_crop_flip_gives_shifted_and_mirrored_copies():
    image = torch.arange(1.0, 26).view(1, 1, 5, 5)
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))[0, 0]
    windows = [padded[i : i + 5, j : j + 5] for i in range(5) for j in range(5)]
    possible = [w for window in windows for w in (window, window.flip(1))]
    out = crop_flip(image.expand(400, 1, 5, 5), torch.Generator().manual_seed(0), pad=2)
    hits = [[i for i, w in enumerate(possible) if torch.equal(w, got[0])] for got in out]
    assert all(len(hit) == 1 for hit in hits)
    assert len({hit[0] for hit in hits}) == 50  # every shift occurs, mirrored and not


def test_crop_flip_moves_all_channels_of_an_image_together():
    grey = torch.rand(30, 1, 7, 9)
    out = crop_flip(grey.expand(30, 3, 7, 9), torch.Generator().manual_seed(1))
    assert out.shape == (30, 3, 7, 9)
    assert torch.equal(out[:, 0], out[:, 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 2, "rank": 2, "world": 2}, "rank must be"),
        ({"batch_size": 2, "augment": "cutout"}, "'cutout'"),
        ({"batch_size": 2, "augment": "crop-flip"}, "is for images"),
    ],
)
def test_wrong_arguments_are_refused_immediately(options, message):
    with pytest.raises(SzilardError, match=message):
        batches(numbered(4), seed=0, epoch=0, **options)
