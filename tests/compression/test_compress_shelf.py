"""Storage of intermediate results: exact, and within its memory limit."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from szilard.compression.curvature import Curvature
from szilard.compression.shelf import SMALL, Shelf
from szilard.errors import SzilardError


class Pair(NamedTuple):
    left: torch.Tensor
    right: list[torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Checked:
    matrix: torch.Tensor

    def __post_init__(self) -> None:
        assert isinstance(self.matrix, torch.Tensor)


def large(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    made = torch.randn(50, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (1e3 * made).to(dtype)


@pytest.mark.parametrize("limit", [0, 40_000, 1 << 25])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.int32, torch.int8, torch.complex64]
)
def test_tensors_are_stored_bit_by_bit(limit, dtype):
    shelf = Shelf(limit)
    tensors = [large(seed, dtype).repeat(1, 3) for seed in range(5)]
    for number, tensor in enumerate(tensors):
        shelf[number] = tensor.t()  # not contiguous
    for number, tensor in enumerate(tensors):
        assert torch.equal(shelf[number], tensor.t())
        assert shelf[number].dtype == dtype
    assert list(shelf) == list(range(5))


def test_structures_keep_their_types():
    shelf = Shelf(0)
    shelf["pair"] = Pair(large(0), [large(1), torch.tensor(3.0)])
    shelf["curvature"] = Curvature(large(2), torch.ones(3), torch.ones(3))
    shelf["checked"] = Checked(large(3))
    shelf["mixed"] = {"a": (large(4), "text"), "b": None}
    assert type(shelf["pair"]) is Pair
    assert torch.equal(shelf["pair"].right[0], large(1))
    assert torch.equal(shelf["curvature"].inputs, large(2))
    assert torch.equal(shelf["checked"].matrix, large(3))
    assert shelf["mixed"]["a"][1] == "text"
    assert shelf["mixed"]["b"] is None
    assert shelf.held == 0


def test_memory_stays_within_its_limit_and_file_space_is_reused():
    size = large(0).numel() * 8
    shelf = Shelf(2 * size)
    for number in range(5):
        shelf[number] = large(number)
    assert shelf.held == 2 * size
    assert shelf.written == 3 * size
    for number in range(5):
        shelf[number] = large(number + 10)
    assert shelf.held <= 2 * size
    assert shelf.written == 3 * size
    for number in range(5):
        assert torch.equal(shelf[number], large(number + 10))
        del shelf[number]
    assert (shelf.held, len(shelf)) == (0, 0)
    with pytest.raises(KeyError):
        shelf[0]


def test_small_tensors_are_not_written_to_the_file():
    shelf = Shelf(0)
    shelf["small"] = torch.zeros(SMALL // 8 - 1, dtype=torch.float64)
    assert shelf.written == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), min_size=1, max_size=12), st.booleans())
def test_totals_are_sums(parts, spilled):
    shelf, wanted = Shelf(0 if spilled else 1 << 20), {}
    for number, (key, scale) in enumerate(parts):
        more = large(number, torch.float32)
        shelf.add(key, more, scale)
        wanted[key] = wanted.get(key, 0.0) + scale * more.double()
    for key, total in wanted.items():
        assert torch.equal(shelf[key], total)


def test_totals_in_several_pieces(monkeypatch):
    monkeypatch.setattr("szilard.compression.shelf.PIECE", 700)
    for limit in (0, 1 << 20):
        shelf = Shelf(limit)
        for seed in range(3):
            shelf.add("total", large(seed), 0.5)
        assert torch.allclose(shelf["total"], 0.5 * (large(0) + large(1) + large(2)), rtol=1e-15)


def test_threads_read_consistent_tensors():
    shelf = Shelf(0)
    for number in range(8):
        shelf[number] = large(number)
    wrong: list[int] = []

    def read(start: int) -> None:
        for step in range(40):
            number = (start + step) % 8
            if not torch.equal(shelf[number], large(number)):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_folder_that_cannot_be_written_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(SzilardError, match="TMPDIR"):
        Shelf(0)["a"] = large(0)
