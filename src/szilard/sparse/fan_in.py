"""Supports with the same number of entries in every row that has any."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.sparse.growth import Growth
from szilard.sparse.pattern import Entries, Pattern
from szilard.sparse.within_groups import filled, first_within, largest_within, strongest


@dataclass(frozen=True)
class FanIn(Pattern):
    """Every existing row of the matrix ``[O, I * kernel]`` has k entries (Lasby et al. 2023, "Dynamic Sparse Training
    with Structured Sparsity", arXiv:2305.02299).

    k is the budget over the number of rows, rounded to the nearest; a budget below one entry a row gives as many rows
    of one entry.

    A move drops the entries of lowest score of the whole weight, and each row gets back as many as it lost, those of
    its largest growth scores.

    With ``ablation`` a move can also remove whole rows, and give rows back. The entries that stay and as many of
    largest growth score are *salient*; rows with fewer salient entries than ``ablation`` times k go. So that the number
    of entries stays what it was, the rows that remain are rounded up to a number that divides it, with a larger k.

    Two differences from the published code: of a row with more than k strong entries those of largest score stay
    (there any k), and k is never rounded down after a move, so that no entries are lost.

    Args:
        ablation: share of k in [0.01, 1] that a row needs to stay; 0 leaves all rows.
        last: whether the weight is the last of its network, whose rows all stay, see :meth:`placed`.

    Raises:
        SzilardError: ``ablation`` outside its range.
    """

    ablation: float = 0.0
    last: bool = False

    def __post_init__(self) -> None:
        if self.ablation and not 0.01 <= self.ablation <= 1:
            raise SzilardError(
                f"a row of the fan-in pattern needs a share of its entries in [0.01, 1] to stay, not "
                f"{self.ablation:g}; choose one such as fan-in:0.3, or fan-in without ablation"
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"fan-in:{self.ablation}" if self.ablation else "fan-in"

    def placed(self, first: bool, last: bool) -> FanIn:
        return replace(self, last=last)

    def random(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        rows, cols = int(shape[0]), math.prod(shape[1:])
        kept, fan_in = _sides(rows, cols, nnz)
        count = torch.zeros(rows, dtype=torch.int64)
        count[torch.randperm(rows, generator=generator)[:kept] if kept < rows else slice(None)] = fan_in
        return largest_within(torch.rand(rows, cols, generator=generator), count)

    def largest(self, weight: Tensor, nnz: int) -> Tensor:
        """The rows with the largest entries if not all fit, and the largest entries of each."""
        rows, cols = weight.shape[0], math.prod(weight.shape[1:])
        size = weight.detach().abs().reshape(rows, cols)
        kept, fan_in = _sides(rows, cols, nnz)
        return largest_within(size, _counts(size.amax(1), kept, fan_in))

    def moved(self, support: Entries, score: Tensor, growth: Growth, fraction: float) -> Tensor:
        rows, cols, flat = support.rows, support.cols, support.flat()
        dropped = math.floor(fraction * support.nnz)
        kept, strength = strongest(flat, score, support.nnz - dropped)
        count = support.crow.diff().long()  # of every row: k or 0
        if self.ablation and not self.last and dropped:
            grown = growth.largest(dropped, rows, cols, kept)
            count = self._ablated(count, torch.cat([kept, grown]) // max(cols, 1), cols)
            kept = kept[first_within(kept // cols, strength, count)]
        return filled(kept, count, cols, growth, rows, cols)

    def broken(self, support: Entries) -> str:
        count = support.crow.diff()
        held = count[count > 0]
        return (
            ""
            if not len(held) or bool((held == held[0]).all())
            else "its rows differ in their numbers of entries"
        )

    def index_bits(self, support: Entries) -> int:
        """A column for each entry, and a number for each existing row if some are missing."""
        rows = int((support.crow.diff() > 0).sum())
        return 32 * (support.nnz + (rows if rows < support.rows else 0))

    def _ablated(self, count: Tensor, salient_rows: Tensor, cols: int) -> Tensor:
        """Entries of every row after rows without enough salient entries are gone.

        Args:
            count: entries of every row before.
            salient_rows: row of each salient entry.
            cols: the most entries of a row.
        """
        entries, fan_in = int(count.sum()), int(count.max())
        salient = torch.bincount(salient_rows, minlength=len(count))
        wanted = int((salient >= max(1.0, self.ablation * fan_in)).sum())
        possible = [n for n in range(1, len(count) + 1) if entries % n == 0 and entries // n <= cols]
        kept = next((n for n in possible if n >= wanted), possible[-1])
        return _counts(salient, kept, entries // kept)


def fan_in_budgets(shapes: Sequence[Sequence[int]], wanted: Sequence[int]) -> list[int]:
    """Entries per weight with whole fan-ins, each rounded up or down so that their total is near that of ``wanted``.

    Args:
        shapes: of the weights.
        wanted: entries of each by the allocation.
    """
    rows = [int(shape[0]) for shape in shapes]
    kept = [
        math.prod(_sides(int(shape[0]), math.prod(shape[1:]), nnz))
        for shape, nnz in zip(shapes, wanted, strict=True)
    ]
    away = [abs(entries - nnz) for entries, nnz in zip(kept, wanted, strict=True)]
    for n in sorted(
        range(len(kept)), key=lambda n: (rows[n] - 2 * away[n], n)
    ):  # the nearest other rounding first
        missing = sum(wanted) - sum(kept)
        change = rows[n] if kept[n] < wanted[n] else -rows[n]
        if away[n] and abs(missing - change) < abs(missing):
            kept[n] += change
    return kept


def _sides(rows: int, cols: int, nnz: int) -> tuple[int, int]:
    """(existing rows, entries of each)."""
    if nnz < rows:
        return max(1, nnz), 1
    return rows, min(cols, round(nnz / rows))


def _counts(score: Tensor, kept: int, fan_in: int) -> Tensor:
    """``fan_in`` in the ``kept`` rows of largest score, 0 in the others, int64; ties go to the lowest."""
    count = torch.zeros(len(score), dtype=torch.int64, device=score.device)
    count[score.sort(descending=True, stable=True).indices[:kept]] = fan_in
    return count
