"""Supports of whole rows and columns: a smaller dense layer inside the layer, which can move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.sparse.allocation import check_density
from szilard.sparse.growth import Growth
from szilard.sparse.pattern import Entries, Pattern


@dataclass(frozen=True)
class Neuron(Pattern):
    """Kept outputs times kept inputs; for a convolution, channels with all their kernel positions.

    A side that shrinks keeps the square root of the density, or the density itself if all of the other side is kept.
    The first weight of a network keeps all its inputs, which are the data, and the last one all its outputs; a weight
    that is both shrinks its inputs.

    Attributes:
        first, last: whether the weight is the first or last of its network, see :meth:`placed`.
    """

    first: bool = False
    last: bool = False

    name = "neuron"

    def placed(self, first: bool, last: bool) -> Neuron:
        return replace(self, first=first, last=last)

    @property
    def all_rows(self) -> bool:
        return self.last

    @property
    def all_columns(self) -> bool:
        return self.first and not self.last

    def random(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        rows, channels = self._sides(shape, nnz)
        row = torch.randperm(shape[0], generator=generator)[:rows].sort().values
        channel = torch.randperm(shape[1], generator=generator)[:channels].sort().values
        return _entries(shape, row, channel)

    def fresh(self, shape: Sequence[int], nnz: int, generator: torch.Generator) -> Tensor:
        """The first rows and columns, so that each layer reads the outputs that the one before it keeps, also through
        flattening and attention heads; untrained neurons are interchangeable. Columns of the data are drawn."""
        if self.first:
            return self.random(shape, nnz, generator)
        rows, channels = self._sides(shape, nnz)
        return _entries(shape, torch.arange(rows), torch.arange(channels))

    def largest(self, weight: Tensor, nnz: int) -> Tensor:
        """Rows of largest norm, and columns of largest norm within these rows."""
        rows, channels = self._sides(weight.shape, nnz)
        squares = weight.detach().flatten(2).square().sum(2) if weight.dim() > 2 else weight.detach().square()
        row = _top(squares.sum(1), rows)
        return _entries(weight.shape, row, _top(squares[row].sum(0), channels))

    def moved(self, support: Entries, score: Tensor, growth: Growth, fraction: float) -> Tensor:
        """Drop and grow rows and columns together, each scored within the columns and rows that stay.

        A row that does not exist has a gradient too: its output exists (it is zero), so ∂L/∂y_i exists, and with the
        kept inputs it gives the gradient of that row; likewise for columns.
        """
        row, channel = support.kept_rows, support.kept_channels
        n_rows, n_channels = support.shape[:2]
        squares = score.square().view(len(row), len(channel), -1).sum(2)
        movable = [0 < len(row) < n_rows, 0 < len(channel) < n_channels]
        # If both sides replace a fraction p, (1 - p)² of the entries stay.
        share = 1 - math.sqrt(1 - fraction) if all(movable) else fraction
        new_rows, new_channels = (
            min(math.floor(share * len(side)), len(side) - 1) if moves else 0
            for side, moves in zip((row, channel), movable, strict=True)
        )
        row = row[_top(squares.sum(1), len(row) - new_rows)]
        channel = channel[_top(squares.sum(0), len(channel) - new_channels)]
        if new_rows or new_channels:
            row_gain, channel_gain = _gains(support, row, channel, growth)
            row_gain[row], channel_gain[channel] = -1.0, -1.0
            row = torch.cat([row, _top(row_gain, new_rows)]).sort().values
            channel = torch.cat([channel, _top(channel_gain, new_channels)]).sort().values
        return _entries(support.shape, row, channel)

    def broken(self, support: Entries) -> str:
        kernel = math.prod(support.shape[2:])
        row = support.crow.diff().nonzero().flatten()
        count = support.nnz // max(1, len(row))
        wrong = "it is not made of whole rows and columns"
        if not support.nnz or count % kernel or count * len(row) != support.nnz:
            return wrong
        if (self.all_rows and len(row) < support.rows) or (self.all_columns and count < support.cols):
            return "it leaves out inputs of the first layer or outputs of the last"
        channel = support.col[:count:kernel] // kernel
        same = _entries(support.shape, row, channel.long())
        return "" if torch.equal(same, support.flat()) else wrong

    def index(self, support: Entries) -> dict[str, Tensor]:
        kernel = math.prod(support.shape[2:])
        row = support.crow.diff().nonzero().flatten()
        count = support.nnz // len(row)
        return {"kept_rows": row, "kept_channels": (support.col[:count:kernel] // kernel).long()}

    def index_bits(self, support: Entries) -> int:
        """A number for each kept row and channel, and none for a side that is whole."""
        sides = zip((support.kept_rows, support.kept_channels), support.shape[:2], strict=True)
        return 32 * sum(len(kept) for kept, whole in sides if len(kept) < whole)

    def _sides(self, shape: Sequence[int], nnz: int) -> tuple[int, int]:
        """(rows, channels) to keep; the longer side compensates the rounding of the shorter."""
        if len(shape) < 2:
            raise SzilardError(
                f"the neuron pattern is for weights of two or more dimensions, not of shape {tuple(shape)}; "
                "use unstructured"
            )
        rows, channels, kernel = int(shape[0]), int(shape[1]), math.prod(shape[2:])

        def fit(exact: float, most: int) -> int:
            return min(most, max(1, round(exact)))

        if self.all_rows:
            return rows, fit(nnz / (rows * kernel), channels)
        if self.all_columns:
            return fit(nnz / (channels * kernel), rows), channels
        share = math.sqrt(nnz / (rows * channels * kernel))
        if rows < channels:
            kept = fit(share * rows, rows)
            return kept, fit(nnz / (kept * kernel), channels)
        kept = fit(share * channels, channels)
        return fit(nnz / (kept * kernel), rows), kept


def neuron_budgets(patterns: Sequence[Neuron], shapes: Sequence[Sequence[int]], density: float) -> list[int]:
    """Entries per weight if every side that shrinks keeps the same share of its neurons."""
    check_density(density)
    sizes = [math.prod(shape) for shape in shapes]
    one_sided = [pattern.all_rows or pattern.all_columns for pattern in patterns]
    once = sum(size for size, one in zip(sizes, one_sided, strict=True) if one)
    twice = sum(sizes) - once
    # The root in (0, 1] of once f + twice f² = density (once + twice).
    share = 2 * density * sum(sizes) / (once + math.sqrt(once**2 + 4 * twice * density * sum(sizes)))
    return [
        max(1, round(size * (share if one else share**2))) for size, one in zip(sizes, one_sided, strict=True)
    ]


def _gains(support: Entries, row: Tensor, channel: Tensor, growth: Growth) -> tuple[Tensor, Tensor]:
    """Squared norm of the gradient of every row within ``channel``, and of every channel within ``row``."""
    n_rows, n_channels = support.shape[:2]
    stays = torch.zeros(n_rows, device=row.device)
    stays[row] = 1.0
    row_gain, channel_gain = [], torch.zeros(n_channels, device=row.device)
    for part, gradient in growth.stream(support.rows, support.cols, row.device):
        squares = gradient.square().view(len(gradient), n_channels, -1).sum(2)
        row_gain.append(squares[:, channel].sum(1))
        channel_gain += (stays[part].to(squares) @ squares).to(channel_gain)
    return torch.cat(row_gain), channel_gain


def _top(score: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` largest scores, ascending; ties go to the lowest."""
    return score.sort(descending=True, stable=True).indices[:count].sort().values


def _entries(shape: Sequence[int], row: Tensor, channel: Tensor) -> Tensor:
    kernel = math.prod(shape[2:])
    col = (channel[:, None] * kernel + torch.arange(kernel, device=channel.device)).flatten()
    return (row[:, None] * math.prod(shape[1:]) + col).flatten()
