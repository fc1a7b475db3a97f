"""Growth at random: no gradient, and so no dense product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from szilard.topology.gradient import BLOCK

_LEAST = 1e-7  # of a uniform number, so that the square of a score is finite in float32


class RandomGrowth:
    """Every entry that does not exist is as likely to be chosen (SET; Mocanu et al. 2018, arXiv:1707.04780).

    It has the interface :class:`szilard.sparse.growth.Growth`. The choice depends on the seed alone, so all processes
    make the same one. Where a pattern chooses units, a unit is as likely as a random entry is in it.

    Args:
        seed: of this weight and this move.
    """

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return 1  # always ready to move

    def add(self, grad: Tensor, x: Tensor) -> None:
        """Gradients are not used."""

    def add_gradient(self, gradient: Tensor) -> None:
        """Gradients are not used."""

    def stream(
        self, rows: int, cols: int, device: torch.device, multiple: int = 1
    ) -> Iterator[tuple[slice, Tensor]]:
        """Scores by blocks of rows, so heavy-tailed that the sum over a unit is about its largest one."""
        step = max(1, BLOCK // max(1, cols) // multiple) * multiple
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            uniform = torch.rand(part.stop - start, cols, generator=self._generator)
            yield part, uniform.clamp_min_(_LEAST).pow_(-2).to(device)

    def largest(self, count: int, rows: int, cols: int, taken: Tensor) -> Tensor:
        """``count`` different entries that are not ``taken``: flat indices, int64, unordered."""
        free = rows * cols - len(taken)
        ranks = self._distinct(count, free).to(taken.device)
        # The entry of rank r among the free ones is r + (number of taken ones before it).
        before = taken - torch.arange(len(taken), device=taken.device)
        return ranks + torch.searchsorted(before, ranks, right=True)

    def _distinct(self, count: int, below: int) -> Tensor:
        """``count`` different numbers below a limit, in memory proportional to ``count``."""
        if 2 * count >= below:
            return torch.randperm(below, generator=self._generator)[:count]
        found = torch.empty(0, dtype=torch.int64)
        while len(found) < count:
            more = torch.randint(below, (count - len(found),), generator=self._generator)
            found = torch.cat([found, more]).unique()
        return found

    def state(self) -> Any:
        """Nothing is collected."""
        return None

    def resume(self, state: Any) -> None:
        """Nothing is collected."""
