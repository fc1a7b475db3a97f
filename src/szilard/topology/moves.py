"""Moves of all supports of a network, on schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.network_weights import every_weight
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.sparse.growth import Growth, RowsGradient
from szilard.topology.gradient import GrowthGradient
from szilard.topology.replace import carry_optimizer_state, drop_and_grow
from szilard.topology.schedule import Schedule
from szilard.topology.scores import SCORES

#: Makes the growth scores of one weight for one move, from (the layer's ``rows_gradient`` or None, rows times columns).
#: :class:`~szilard.topology.GrowthGradient` is one.
GrowthFactory = Callable[[RowsGradient | None, int], Growth]

#: One optimiser, or several that share the parameters among them.
Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None


def several(given: Optimizers) -> list[torch.optim.Optimizer]:
    """The optimisers as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, Sequence) else [given]


class Moves:
    """Collects gradients in the batches before a move, then moves every support that is not full.

    Args:
        schedule: when, and how much.
        score: name in :data:`szilard.topology.scores.SCORES`; entries of lowest score are dropped.
        batches: batches whose gradients decide where to grow.
        growth: ``"noisy"``, ``"mean"`` (the caller then computes these batches with the network's mean), or a function
            that makes an object with the interface :class:`szilard.sparse.growth.Growth` for each weight and move.
    """

    def __init__(
        self, schedule: Schedule, score: str, batches: int = 1, growth: str | GrowthFactory = "noisy"
    ) -> None:
        if score not in SCORES:
            raise SzilardError(f"unknown removal score {score!r}: choose one of {', '.join(SCORES)}")
        if batches < 1:
            raise SzilardError(f"a move needs the gradient of at least one batch, not {batches}")
        if growth not in ("noisy", "mean") and not callable(growth):
            raise SzilardError(
                f"growth must be 'noisy', 'mean', or in Python a function that makes a sparse.Growth, not {growth!r}"
            )
        self.schedule, self.score, self.batches, self.growth = schedule, score, batches, growth
        self._growth: dict[int, Growth] = {}  # by number of the layer, while gradients are collected
        self._resumed: dict[int, Any] = {}  # states of these

    @property
    def listening(self) -> bool:
        """Whether the next batch is one of those whose gradients decide where to grow."""
        return bool(self._growth)

    def listen(self, network: nn.Module, step: int, total: int) -> None:
        """Start collecting gradients if it is time; to be called before the forward pass of ``step``."""
        if not self.schedule.collects(step, total, self.batches):
            return
        for number, (_, weight, rows_gradient) in enumerate(every_weight(network)):
            support = weight.support
            if support.is_full or not weight.mean.requires_grad:  # a frozen weight keeps its entries
                continue
            if number not in self._growth:
                make = self.growth if callable(self.growth) else GrowthGradient
                growth = make(rows_gradient, support.rows * support.cols)
                if number in self._resumed:
                    growth.resume(self._resumed.pop(number))
                self._growth[number] = growth
            weight.growth = self._growth[number]

    @torch.no_grad()
    def apply(self, network: nn.Module, optimizer: Optimizers, step: int, total: int) -> int:
        """Move supports if it is time; to be called after optimiser step ``step``. Returns the number of new entries in
        the network."""
        fraction = self.schedule.fraction_at(step, total)
        if not (fraction and self._growth):
            return 0
        given = several(optimizer)
        trained = {id(p) for one in given for group in one.param_groups for p in group["params"]}
        new = 0
        for number, (_, weight, _) in enumerate(every_weight(network)):
            growth = self._growth.get(number)
            weight.growth = None
            # A weight that is frozen, or that no optimiser trains, keeps its entries: new ones would stay at zero.
            free = weight.mean.requires_grad and (not given or id(weight.mean) in trained)
            if growth is not None and len(growth) and free:
                new += self._move(weight, growth, given, fraction)
        self._growth = {}
        return new

    def state_dict(self) -> dict[int, Any]:
        """Gradients collected since the last move, so that a run can stop between two batches."""
        return {number: growth.state() for number, growth in self._growth.items()}

    def load_state_dict(self, state: dict[int, Any]) -> None:
        self._growth, self._resumed = {}, dict(state)

    def _move(
        self,
        weight: Weight,
        growth: Growth,
        optimizers: Sequence[torch.optim.Optimizer],
        fraction: float,
    ) -> int:
        move = drop_and_grow(weight.support, self._scores(weight), growth, fraction)
        weight.carry(move)
        for optimizer in optimizers:
            for parameter in weight.parameters(recurse=False):
                carry_optimizer_state(move, optimizer, parameter)
        return move.dropped

    def _scores(self, weight: Weight) -> Tensor:
        return SCORES[self.score](weight.mean, weight.std)
