"""Supports of square blocks: fewer units to choose from, and products of small dense matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.sparse.growth import Growth
from szilard.sparse.pattern import Entries, Pattern


class Grid(NamedTuple):
    """The blocks of a matrix, row-major: ``rows x cols`` of them."""

    rows: int
    cols: int
    area: Tensor  # int64 [rows * cols], entries of each block: fewer at the edges


@dataclass(frozen=True)
class Block(Pattern):
    """Blocks of ``side x side`` of the ``[O, I * kernel]`` matrix; at its edges they can be smaller.

    A block is only replaced by one of the same number of entries (there are at most four sizes: inside, at the two
    edges, in the corner), so the budget stays exact. While a support moves, one number for each block of the matrix is
    held, 1/side² of the dense weight.

    Raises:
        SzilardError: a side outside [4, 256]; for smaller ones use the unstructured pattern.
    """

    side: int

    def __post_init__(self) -> None:
        if not 4 <= self.side <= 256:
            raise SzilardError(
                f"the side of a block must be from 4 to 256, not {self.side}; block32 suits most GPUs"
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"block{self.side}"

    def grid(self, rows: int, cols: int) -> Grid:
        height, width = (
            torch.arange(0, n, self.side).neg_().add_(n).clamp_(max=self.side) for n in (rows, cols)
        )
        return Grid(len(height), len(width), torch.outer(height, width).flatten())

    def random(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        rows, cols = int(shape[0]), math.prod(shape[1:])
        grid = self.grid(rows, cols)
        score = torch.rand(grid.rows * grid.cols, generator=generator)
        return self._entries(_best(score, _counts(grid, nnz), grid.area), rows, cols)

    def largest(self, weight: Tensor, nnz: int) -> Tensor:
        rows, cols = weight.shape[0], math.prod(weight.shape[1:])
        grid = self.grid(rows, cols)
        score = self._sums(weight.detach().reshape(rows, cols).square()).cpu()
        return self._entries(_best(score, _counts(grid, nnz), grid.area), rows, cols).to(weight.device)

    def moved(self, support: Entries, score: Tensor, growth: Growth, fraction: float) -> Tensor:
        rows, cols, device = support.rows, support.cols, score.device
        grid = self.grid(rows, cols)
        area = grid.area.to(device)
        block = self._block_of(support.flat(), cols)
        importance = score.new_zeros(len(area)).index_add_(0, block, score.square())
        present = torch.zeros(len(area), dtype=torch.bool, device=device)
        present[block] = True
        held = {int(a): int((present & (area == a)).sum()) for a in area.unique()}
        grown = {a: math.floor(fraction * count) for a, count in held.items()}
        stay = {a: held[a] - grown[a] for a in held}
        kept = _best(importance.masked_fill(~present, -1.0), stay, area)
        # The dense gradient is streamed: only its sums over blocks are held.
        gradient = torch.cat(
            [self._sums(part.square()) for _, part in growth.stream(rows, cols, device, self.side)]
        )
        gradient[kept] = -1.0
        return self._entries(torch.cat([kept, _best(gradient, grown, area)]).sort().values, rows, cols)

    def broken(self, support: Entries) -> str:
        block = self._block_of(support.flat(), support.cols)
        area = self.grid(support.rows, support.cols).area.to(block.device)
        held = torch.bincount(block, minlength=len(area))
        return "" if bool(((held == 0) | (held == area)).all()) else f"it is not made of whole {self.name}s"

    def index(self, support: Entries) -> dict[str, Tensor]:
        """The blocks in CSR with the row of each, and their transpose as positions in that order."""
        grid = self.grid(support.rows, support.cols)
        block = self._block_of(support.flat(), support.cols).unique()  # ascending
        row, col = block // grid.cols, block % grid.cols
        found = {
            "block_crow": _starts(row, grid.rows),
            "block_row": row,
            "block_col": col,
            "block_t_crow": _starts(col, grid.cols),
            "block_t_perm": col.argsort(stable=True),
        }
        return {name: tensor.to(torch.int32) for name, tensor in found.items()}

    def index_bits(self, support: Entries) -> int:
        """CSR of the blocks."""
        grid = self.grid(support.rows, support.cols)
        blocks = self._block_of(support.flat(), support.cols).unique()
        return 32 * (grid.rows + 1 + len(blocks))

    def _block_of(self, flat: Tensor, cols: int) -> Tensor:
        return flat // cols // self.side * -(-cols // self.side) + flat % cols // self.side

    def _sums(self, matrix: Tensor) -> Tensor:
        """Sums over each block of a matrix of complete block rows, flat."""
        rows, cols = matrix.shape
        padded = F.pad(matrix, (0, -cols % self.side, 0, -rows % self.side))
        return padded.unflatten(1, (-1, self.side)).unflatten(0, (-1, self.side)).sum((1, 3)).flatten()

    def _entries(self, blocks: Tensor, rows: int, cols: int) -> Tensor:
        inside = torch.arange(self.side, device=blocks.device)
        across = -(-cols // self.side)
        row = (blocks // across * self.side)[:, None, None] + inside[:, None]
        col = (blocks % across * self.side)[:, None, None] + inside
        return (row * cols + col)[(row < rows) & (col < cols)].sort().values


def _starts(index: Tensor, n: int) -> Tensor:
    return F.pad(torch.bincount(index, minlength=n).cumsum(0), (1, 0))


def _counts(grid: Grid, nnz: int) -> dict[int, int]:
    """How many blocks of each area, so that their sum is nearest to ``nnz``: large ones first, then small ones."""
    areas, number = grid.area.unique(return_counts=True)
    left, area_left = nnz, int(grid.area.sum())
    counts: dict[int, int] = {}
    for area, n in zip(areas.flip(0).tolist(), number.flip(0).tolist(), strict=True):
        counts[area] = min(n, max(0, round(left * n / area_left)))
        left -= counts[area] * area
        area_left -= n * area
    if not any(counts.values()):
        counts[int(areas[-1])] = 1
    return counts


def _best(score: Tensor, counts: dict[int, int], area: Tensor) -> Tensor:
    """The blocks of largest score, ``counts[a]`` of those with ``a`` entries, ascending."""
    order = score.sort(descending=True, stable=True).indices
    chosen = [order[area[order] == a][:count] for a, count in counts.items()]
    return torch.cat(chosen).sort().values
