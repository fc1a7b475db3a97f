"""Supports of exactly n entries in every group of m consecutive columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.sparse.growth import Growth
from szilard.sparse.pattern import Entries, Pattern
from szilard.sparse.within_groups import filled, largest_within, strongest

_SAME = 0.005  # relative: 0.333 is meant as 1/3


@dataclass(frozen=True)
class NOfM(Pattern):
    """n entries exist in every group of m consecutive columns of the weight's matrix ``[O, I * kernel]``.

    Every weight has density n/m, and m divides its number of columns. Source: Mishra et al. 2021, "Accelerating Sparse
    Deep Neural Networks", arXiv:2104.08378 (2:4).

    A move drops the entries of lowest score of the whole weight, and each group gets back as many as it lost, those of
    its largest growth scores. Groups without weak entries therefore do not move.

    Raises:
        SzilardError: not 1 <= n < m <= 64.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n < self.m <= 64:
            raise SzilardError(
                f"a pattern n:m needs 1 <= n < m <= 64, not {self.n}:{self.m}; choose one such as 2:4"
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.n}:{self.m}"

    def implied(self) -> dict[str, Any]:
        return {"density": self.n / self.m, "allocation": "uniform"}

    def check_options(self, density: float, allocation: str) -> None:
        wrong, right = [], []
        if abs(density * self.m / self.n - 1) > _SAME:
            wrong.append(f"density cannot be {density:g}")
            right.append(f"density={self.n / self.m:.4g}")
        if allocation != "uniform":
            wrong.append(f"allocation cannot be {allocation!r}")
            right.append("allocation='uniform'")
        if wrong:
            raise SzilardError(
                f"the pattern {self.name} keeps {self.n / self.m:.4g} of the entries of every weight, so "
                f"{' and '.join(wrong)}; give {' and '.join(right)}"
            )

    def unfit(self, shape: Sequence[int]) -> str:
        cols = math.prod(shape[1:])
        return f"{self.m} does not divide the {cols} columns of its weight" if cols % self.m else ""

    def entries(self, shape: Sequence[int]) -> int:
        """How many entries a weight of ``shape`` has."""
        return math.prod(shape) // self.m * self.n

    def random(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        self._check(shape, nnz)
        return largest_within(torch.rand(math.prod(shape), generator=generator).view(-1, self.m), self.n)

    def largest(self, weight: Tensor, nnz: int) -> Tensor:
        self._check(weight.shape, nnz)
        return largest_within(weight.detach().abs().reshape(-1, self.m), self.n)

    def moved(self, support: Entries, score: Tensor, growth: Growth, fraction: float) -> Tensor:
        stay = support.nnz - math.floor(fraction * support.nnz)
        kept, _ = strongest(support.flat(), score, stay)
        return filled(kept, self.n, self.m, growth, support.rows, support.cols)

    def broken(self, support: Entries) -> str:
        if why := self.unfit(support.shape):
            return why
        wrong = f"not every group of {self.m} columns has {self.n} entries"
        if support.nnz != self.entries(support.shape):
            return wrong
        group = support.flat() // self.m
        # The entries ascend: the first n must be those of the first group, the next n those of the second.
        expected = torch.arange(support.nnz, device=group.device) // self.n
        return "" if torch.equal(group, expected) else wrong

    def index_bits(self, support: Entries) -> int:
        """The place of each entry within its group, such as two bits for 2:4."""
        return support.nnz * (self.m - 1).bit_length()

    def _check(self, shape: Sequence[int], nnz: int) -> None:
        """Raise unless a weight of ``shape`` can have ``nnz`` entries of this pattern."""
        if why := self.unfit(shape):
            raise SzilardError(
                f"a weight of shape {tuple(shape)} cannot have the pattern {self.name}: {why}; choose another m"
            )
        if nnz != self.entries(shape):
            raise SzilardError(
                f"the pattern {self.name} keeps {self.entries(shape):,} entries of a weight of shape "
                f"{tuple(shape)}, not {nnz:,}; give density={self.n / self.m:.4g}"
            )
