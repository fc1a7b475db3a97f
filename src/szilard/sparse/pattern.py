"""Units in which the entries of a weight exist: single entries, square blocks, whole neurons, or fixed numbers a group.

With any pattern, a support is a set of entries in CSR and its values are in that order. The pattern defines which sets
are allowed, how the first one is chosen, and in which units it moves. Everything that handles values entry by entry
(means, σ, optimisers, checkpoints, the general kernels) therefore works with every pattern.

The score of a unit is the sum of squares of its entries' scores, both for removal and for growth. With removal score
|μ|/σ, half that sum is the cost of removing the unit: if q is the posterior, -ln p rises by μ²/(2σ²) nats for each
entry set to zero, and entries are independent under q. With |∂F/∂μ|, it is the slope of F along steepest descent into
the unit. For units of one entry both are the unstructured rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from szilard.sparse.growth import Growth


class Entries(Protocol):
    """What a pattern needs of a support whose entries it chooses; :class:`~szilard.sparse.Support` provides it."""

    shape: torch.Size
    rows: int
    cols: int
    crow: Tensor
    col: Tensor
    kept_rows: Tensor
    kept_channels: Tensor

    @property
    def nnz(self) -> int:
        """How many entries exist."""

    def flat(self) -> Tensor:
        """Their ascending flat indices, int64 ``[nnz]``."""


class Pattern:
    """Base class of the patterns. Entries are given as ascending flat indices, int64 ``[nnz]``.

    The number of entries of a support is its budget to the nearest unit. It depends on the shape, the budget and the
    pattern alone, so that a checkpoint fits every network prepared with the same options.
    """

    name: str

    def placed(self, first: bool, last: bool) -> Pattern:
        """This pattern for a weight that is the first (reads the data) or the last (gives the outputs) of a network."""
        return self

    def implied(self) -> dict[str, Any]:
        """The density and the allocation of every network of this pattern, by name of the option, if it sets them."""
        return {}

    def check_options(self, density: float, allocation: str) -> None:
        """Raise :class:`SzilardError` if a network of this pattern cannot have that density and allocation."""

    def unfit(self, shape: Sequence[int]) -> str:
        """Why a weight of this shape cannot have the pattern, or an empty string."""
        return ""

    def random(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        """About ``nnz`` entries, units drawn uniformly without replacement."""
        raise NotImplementedError

    def fresh(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        """About ``nnz`` entries for a network that is trained from scratch."""
        return self.random(shape, nnz, generator)

    def largest(self, weight: Tensor, nnz: int) -> Tensor:
        """About ``nnz`` entries, units of largest norm in a dense ``weight``; ties go to the lowest index."""
        raise NotImplementedError

    def moved(self, support: Entries, score: Tensor, growth: Growth, fraction: float) -> Tensor:
        """As many entries as now, with the units of lowest score replaced by those of largest gradient.

        Args:
            support: as it is before the move.
            score: importance of each existing entry, ``[nnz]``.
            growth: scores of where entries should grow.
            fraction: of the entries to replace; nothing moves if that rounds down to zero units.
        """
        raise NotImplementedError

    def broken(self, support: Entries) -> str:
        """Why the entries of ``support`` are not of this pattern, or an empty string."""
        return ""

    def index(self, support: Entries) -> dict[str, Tensor]:
        """Coarse index that products of this pattern need, by name; cached by the support, never saved."""
        return {}

    def index_bits(self, support: Entries) -> int:
        """Bits of the int32 numbers that say which entries of a support exist: here CSR, a column for each entry."""
        return 32 * (support.rows + 1 + support.nnz)


@dataclass(frozen=True)
class Unstructured(Pattern):
    """Any set of entries."""

    name = "unstructured"

    def random(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        return torch.randperm(math.prod(shape), generator=generator)[:nnz].sort().values

    def largest(self, weight: Tensor, nnz: int) -> Tensor:
        order = weight.detach().abs().flatten().sort(descending=True, stable=True).indices
        return order[:nnz].sort().values

    def moved(self, support: Entries, score: Tensor, growth: Growth, fraction: float) -> Tensor:
        count = math.floor(fraction * support.nnz)
        count = min(count, support.rows * support.cols - support.nnz + count)
        order = score.sort(descending=True, stable=True).indices
        kept = support.flat()[order[: support.nnz - count]].sort().values
        grown = growth.largest(count, support.rows, support.cols, kept)
        return torch.cat([kept, grown]).sort().values


UNSTRUCTURED = Unstructured()
