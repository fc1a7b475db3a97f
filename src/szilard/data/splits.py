"""The train/validation/test split: by seed, stratified by class."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.data.seeds import generator
from szilard.errors import SzilardError


def split_indices(y: Tensor, fractions: tuple[float, ...], seed: int, *, stratify: bool) -> list[Tensor]:
    """Disjoint index tensors: the first part, then one for each of ``fractions``.

    Args:
        y: ``[N]`` classes or targets.
        fractions: of N, for the second and later parts; the first part gets the rest (more than half).
        seed: of the random order.
        stratify: keep each class's share within one example in every part. Few examples of a class go to the first
            part before the others.

    Returns:
        1 + len(fractions) int64 tensors, each ascending.

    Raises:
        SzilardError: there are too few examples to give every part one.
    """
    n = len(y)
    sizes = [round(n * fraction) for fraction in fractions]
    if min(sizes, default=0) < 1 or n - sum(sizes) < 1:
        raise SzilardError(
            f"{n} examples are too few for {1 + len(sizes)} parts; give at least {_least(fractions)}"
        )
    order = torch.randperm(n, generator=generator("carve", seed))
    if stratify:
        rank, size = _rank_in_class(y[order])
        # The examples of every class are spaced evenly on [0, 1]: a cut anywhere takes the same share of each class.
        order = order[((rank + 0.5) / size).argsort(stable=True)]
    parts = order.split([n - sum(sizes), *sizes])
    return [part.sort().values for part in parts]


def subset(y: Tensor, n: int | None, seed: int, *, balanced: bool) -> Tensor:
    """Ascending indices of ``n`` examples of N; all of them if ``n`` is None.

    ``balanced``: equal numbers per class; if a class has too few examples, the other classes fill up the subset. With
    the same seed, a smaller subset is contained in every larger one.
    """
    if n is None:
        return torch.arange(len(y))
    if not 1 <= n <= len(y):
        raise SzilardError(
            f"n_train must be between 1 and {len(y)}, the number of training examples, not {n}"
        )
    order = torch.randperm(len(y), generator=generator("subset", seed))
    if balanced:
        rank, _ = _rank_in_class(y[order])
        order = order[rank.argsort(stable=True)]
    return order[:n].sort().values


def _rank_in_class(y: Tensor) -> tuple[Tensor, Tensor]:
    """For each example: the number of earlier examples of its class, and the size of its class."""
    _, label, counts = torch.unique(y, return_inverse=True, return_counts=True)
    by_class = label.argsort(stable=True)
    first = (counts.cumsum(0) - counts)[label[by_class]]
    rank = torch.empty_like(by_class)
    rank[by_class] = torch.arange(len(y)) - first
    return rank, counts[label]


def _least(fractions: tuple[float, ...]) -> int:
    n = 1 + len(fractions)
    while min(round(n * fraction) for fraction in fractions) < 1:
        n += 1
    return n
