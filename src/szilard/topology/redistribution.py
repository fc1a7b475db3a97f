"""Moves that also divide the entries of a network among its weights, by the momentum of their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from szilard.bayes.network_weights import every_weight
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.sparse.growth import Growth
from szilard.sparse.support import Support
from szilard.topology.moves import Moves, Optimizers, several
from szilard.topology.replace import refuse_nan
from szilard.topology.resized import resize


def divided(total: int, scores: Sequence[float], room: Sequence[int]) -> list[int]:
    """Divide a number of entries in proportion to scores, by largest remainders, with no share above its room.

    What a full share cannot take goes to the others, in proportion to their scores; if these are zero, in proportion to
    their rooms.

    Args:
        total: to divide.
        scores: one for each share, not negative.
        room: most entries of each share.

    Returns:
        the shares, whose sum is ``total`` exactly; of equal remainders the first gets the entry.

    Raises:
        SzilardError: a score that is negative or not finite, or more entries than there is room for.
    """
    if not all(math.isfinite(score) and score >= 0 for score in scores):
        raise SzilardError(
            "a mean momentum is NaN or infinite, so entries cannot be divided by it: inputs or targets hold NaN, or "
            "training has diverged; check the batches, and lower lr if they hold no NaN"
        )
    if not 0 <= total <= sum(room):
        raise SzilardError(f"{total:,} entries cannot be divided into shares of at most {sum(room):,}")
    found = [0] * len(room)
    free = [number for number, most in enumerate(room) if most]
    left = total
    while True:
        weights = {number: float(scores[number]) for number in free}
        if not sum(weights.values()) > 0:
            weights = {number: float(room[number]) for number in free}
        share = {number: left * weight / sum(weights.values()) for number, weight in weights.items()}
        full = [number for number in free if share[number] >= room[number]]
        if not full or not left:
            break
        for number in full:
            found[number] = room[number]
            left -= room[number]
        free = [number for number in free if number not in full]
    floors = {number: math.floor(value) for number, value in share.items()} if left else {}
    by_remainder = sorted(floors, key=lambda number: (floors[number] - share[number], number))
    more = set(by_remainder[: left - sum(floors.values())])
    for number, floor in floors.items():
        found[number] = floor + (number in more)
    return found


class _Share(NamedTuple):
    """One weight in a move: the entries that stay, how many more it can have, and its claim to new ones."""

    weight: Weight
    growth: Growth
    kept: Tensor
    dropped: int
    room: int
    momentum: float


class Redistribution(Moves):
    """Drops the smallest entries of each weight and divides as many new ones by mean momentum magnitude.

    Sparse momentum (Dettmers and Zettlemoyer 2019, arXiv:1907.04840): with m the momentum of the dense gradient, weight
    l gets the share mean_l |m| / Σ_k mean_k |m| of all new entries, where its |m| is largest. The means are over
    existing entries, before any is dropped. The number of entries of the network is constant, that of a weight is not.
    """

    redistributes = True

    def _hears(self, weight: Weight) -> bool:
        # A full weight can give entries away. The first layer that dense_stem leaves dense is not part of the budget.
        return weight.mean.requires_grad and not weight.stem

    @torch.no_grad()
    def apply(self, network: nn.Module, optimizer: Optimizers, step: int, total: int) -> int:
        """Move entries if it is time; to be called after optimiser step ``step``. Returns the number of new entries.

        Raises:
            SzilardError: no optimiser, whose parameters must follow.
        """
        fraction = self.schedule.fraction_at(step, total)
        if not fraction or not self._growth:
            return 0
        optimizers = several(optimizer)
        if not optimizers:
            raise SzilardError(
                "a move that divides entries anew replaces parameters of the optimiser; call "
                "method.after_step(network, optimizer) with it"
            )
        given = {id(p) for one in optimizers for group in one.param_groups for p in group["params"]}
        shares = []
        for number, (_, weight, _) in enumerate(every_weight(network)):
            growth, weight.growth = self._growth.get(number), None
            if growth is not None and len(growth) and id(weight.mean) in given:
                shares.append(self._share(weight, growth, fraction))
        new = 0
        if any(one.momentum for one in shares):  # else no gradient says where to grow, and nothing moves
            scores, room = [one.momentum for one in shares], [one.room for one in shares]
            grown = divided(sum(one.dropped for one in shares), scores, room)
            new = sum(_moved(one, count, optimizers) for one, count in zip(shares, grown, strict=True))
        if not self._collects(step, total):
            self._growth = {}
        return new

    def _share(self, weight: Weight, growth: Growth, fraction: float) -> _Share:
        support, score = weight.support, self._scores(weight)
        refuse_nan(score)
        dropped = min(math.floor(fraction * support.nnz), support.nnz - 1)  # no weight becomes empty
        order = score.sort(descending=True, stable=True).indices
        kept = support.flat()[order[: support.nnz - dropped]].sort().values
        room = support.rows * support.cols - len(kept)
        return _Share(weight, growth, kept, dropped, room, _mean_magnitude(growth, support))


def _moved(one: _Share, count: int, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    support = one.weight.support
    if not one.dropped and not count:
        return 0
    grown = one.growth.largest(count, support.rows, support.cols, one.kept)
    move = resize(one.weight, torch.cat([one.kept, grown]).sort().values, optimizers)
    return int(move.new.sum())


def _mean_magnitude(growth: Growth, support: Support) -> float:
    """Mean |momentum| over the existing entries, summed over all processes by the growth rule."""
    flat, total = support.flat(), 0.0
    for part, block in growth.stream(support.rows, support.cols, flat.device):
        ends = torch.tensor([part.start * support.cols, part.stop * support.cols]).to(flat)
        low, high = torch.searchsorted(flat, ends)
        here = block.flatten()[flat[low:high] - part.start * support.cols]
        total += float(here.abs().double().sum())
    return total / max(1, support.nnz)
