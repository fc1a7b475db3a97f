"""When and how a support moves: drop the entries that say least, grow where the gradient is largest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.sparse.support import Support
from szilard.topology.gradient import GrowthGradient

#: Optimiser state that estimates a second moment: a new entry starts at the mean of the survivors, because a
#: zero there with Adam's saturated bias correction would make its first update several times too large.
SECOND_MOMENTS = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "hess"})


@dataclass(frozen=True)
class Schedule:
    """Moves every ``every`` steps until ``end`` (a fraction of all steps), replacing ever fewer entries.

    At step t of ``total`` the fraction replaced is ``fraction / 2 * (1 + cos(pi t / (end * total)))``
    (Evci et al. 2020, "Rigging the Lottery").
    """

    every: int = 100
    fraction: float = 0.3
    end: float = 0.75

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.fraction <= 1 or not 0 <= self.end <= 1:
            raise SzilardError(
                "a topology schedule needs every >= 1 and fraction and end in [0, 1], "
                f"not every={self.every}, fraction={self.fraction}, end={self.end}"
            )

    def fraction_at(self, step: int, total: int) -> float:
        """Fraction of the entries to replace after ``step`` optimiser steps (0: no move)."""
        last = self.end * total
        if step <= 0 or step >= last or step % self.every or not self.fraction:
            return 0.0
        return self.fraction / 2 * (1 + math.cos(math.pi * step / last))

    def collects(self, step: int, total: int, batches: int) -> bool:
        """Whether the batch seen at ``step`` is among the ``batches`` before the next move."""
        ahead = -(step + 1) % self.every
        return ahead < batches and self.fraction_at(step + 1 + ahead, total) > 0


class Move(NamedTuple):
    """What a move did, for whoever holds values of the support's entries."""

    source: Tensor  # int64 [nnz]: old place of each entry, -1 for a new one
    dropped: int

    @property
    def new(self) -> Tensor:
        return self.source < 0

    def carry(self, values: Tensor, fill: float | Tensor = 0.0) -> None:
        """Permute ``values [nnz]`` in place to the new order, with ``fill`` at the new entries."""
        moved = values[self.source.clamp(min=0)]
        values.copy_(
            torch.where(self.new, torch.as_tensor(fill, dtype=values.dtype, device=values.device), moved)
        )

    def survivors(self, values: Tensor) -> Tensor:
        """The values (in the old order) of entries that stayed."""
        return values[self.source[self.source >= 0]]


def drop_and_grow(support: Support, score: Tensor, growth: GrowthGradient, fraction: float) -> Move:
    """Keep the units of largest ``score``, replace the rest by those of largest |gradient|.

    With n = floor(fraction * nnz): K keeps nnz - n entries; A is the n largest |gradient| among all
    entries outside K, so one dropped a moment ago may be chosen again and then keeps its values. Structured
    supports do the same in units of their :class:`~szilard.sparse.pattern.Pattern`.

    Args:
        score: importance of each existing entry, ``[nnz]``; ties keep the lower index.
    """
    if torch.isnan(score).any():
        raise SzilardError(
            "a removal score is NaN, so nothing can be dropped: inputs or targets hold NaN, or training has diverged; "
            "look at the batches, and lower lr if they are whole"
        )
    source = support.replace(support.pattern.moved(support, score, growth, fraction))
    return Move(source, dropped=int((source < 0).sum()))


def carry_optimizer_state(move: Move, optimizer: torch.optim.Optimizer, parameter: Tensor) -> None:
    """Permute an optimiser's state of ``parameter [nnz]``: first moments of new entries start at zero."""
    for name, value in optimizer.state.get(parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            fill = move.survivors(value).mean() if name in SECOND_MOMENTS else 0.0
            move.carry(value, fill)
