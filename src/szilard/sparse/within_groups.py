"""Choices within groups of consecutive entries of a weight: rows, or a few columns of a row."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.sparse.growth import Growth


def largest_within(score: Tensor, count: int | Tensor) -> Tensor:
    """The entries of largest score of each group; ties go to the lowest index.

    Args:
        score: ``[groups, width]``.
        count: entries of every group, or int64 ``[groups]``.

    Returns:
        ascending indices into the flattened score, int64.
    """
    order = score.sort(dim=1, descending=True, stable=True).indices
    rank = torch.arange(score.shape[1], device=score.device).expand_as(order)
    wanted = torch.as_tensor(count, device=score.device).view(-1, 1)
    return (
        torch.zeros_like(order, dtype=torch.bool).scatter_(1, order, rank < wanted).flatten().nonzero()[:, 0]
    )


def strongest(flat: Tensor, score: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` existing entries of largest score and these scores; among equal ones the lower index stays.

    Args:
        flat: ascending flat indices of the entries, int64 ``[nnz]``.
        score: of each, ``[nnz]``.
        count: how many stay.
    """
    stay = score.sort(descending=True, stable=True).indices[:count].sort().values
    return flat[stay], score[stay]


def first_within(group: Tensor, score: Tensor, count: Tensor) -> Tensor:
    """Positions of the entries that are among the ``count[g]`` of largest score of their group g, ascending.

    Args:
        group: number of each entry's group, int64 ``[n]``, ascending.
        score: ``[n]``; among equal ones the lower position comes first.
        count: int64 ``[groups]``.
    """
    by_score = score.sort(descending=True, stable=True).indices
    order = by_score[group[by_score].sort(stable=True).indices]  # by group, and within it by score
    sizes = torch.bincount(group, minlength=len(count))
    rank = torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[group]
    return order[rank < count[group]].sort().values


def filled(kept: Tensor, count: int | Tensor, width: int, growth: Growth, rows: int, cols: int) -> Tensor:
    """``kept`` and, in each group, as many entries of largest growth score as are missing.

    The scores are streamed by rows, so that the dense gradient is never held.

    Args:
        kept: ascending flat indices, int64; at most ``count`` in each group.
        count: entries of every group, or int64 ``[groups]``.
        width: entries of the weight in a group, which divides ``cols``.
        growth: scores of all entries.
        rows, cols: of the weight as a matrix.

    Returns:
        ascending flat indices, int64.
    """
    found = []
    for part, gradient in growth.stream(rows, cols, kept.device):
        start, stop = part.start * cols, part.stop * cols
        score = gradient.abs().flatten().nan_to_num_(nan=0.0)  # finite, so that what is kept comes first
        low, high = torch.searchsorted(kept, torch.tensor([start, stop]).to(kept)).tolist()
        score[kept[low:high] - start] = torch.inf
        here = count[start // width : stop // width] if isinstance(count, Tensor) else count
        found.append(largest_within(score.view(-1, width), here) + start)
    return torch.cat(found)
