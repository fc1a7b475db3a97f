"""Who is in train, who in valid, who in test: decided by a seed, the classes in proportion."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.data.seeds import generator
from szilard.errors import SzilardError


def carve(y: Tensor, fractions: tuple[float, ...], seed: int, *, stratify: bool) -> list[Tensor]:
    """Disjoint index tensors: the first part, then one for each of ``fractions``.

    Args:
        y: ``[N]`` classes or targets.
        fractions: of N, for the second and later parts; the first takes the rest (more than half).
        seed: decides who goes where.
        stratify: keep each class's share within one example in every part. A class with few examples
            is served in the first part before the others.

    Returns:
        1 + len(fractions) int64 tensors, each ascending.

    Raises:
        SzilardError: too few examples to give every part one.
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
        # The examples of every class lie evenly on [0, 1]: a cut anywhere takes the same share of each.
        order = order[((rank + 0.5) / size).argsort(stable=True)]
    parts = order.split([n - sum(sizes), *sizes])
    return [part.sort().values for part in parts]


def subset(y: Tensor, n: int | None, seed: int, *, balanced: bool) -> Tensor:
    """Indices of ``n`` examples of N, ascending; all of them when ``n`` is None.

    Balanced: as many of each class as possible (a class that runs out is made up for by the others).
    With one seed a smaller subset lies inside every larger one.
    """
    if n is None:
        return torch.arange(len(y))
    if not 1 <= n <= len(y):
        raise SzilardError(
            f"n_train must lie between 1 and the {len(y)} training examples there are, not {n}"
        )
    order = torch.randperm(len(y), generator=generator("subset", seed))
    if balanced:
        rank, _ = _rank_in_class(y[order])
        order = order[rank.argsort(stable=True)]
    return order[:n].sort().values


def _rank_in_class(y: Tensor) -> tuple[Tensor, Tensor]:
    """For each example: how many of its class came before it, and how many there are."""
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
