"""Moves of all supports of a network, on schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.network_weights import every_weight
from szilard.bayes.noise import mix
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.sparse.growth import Growth, RowsGradient
from szilard.topology.gradient import GrowthGradient
from szilard.topology.momentum import MomentumGrowth
from szilard.topology.random_growth import RandomGrowth
from szilard.topology.replace import carry_optimizer_state, drop_and_grow
from szilard.topology.schedule import Schedule
from szilard.topology.scores import SCORES

#: Makes the growth scores of one weight for one move, from (the layer's ``rows_gradient`` or None, rows times columns).
#: :class:`~szilard.topology.GrowthGradient` is one.
GrowthFactory = Callable[[RowsGradient | None, int], Growth]

#: Names of the rules where Gaussian weights grow: by the gradient of the stochastic network or of its mean, by the
#: momentum of the gradient, or at random.
GROWTHS = ("noisy", "mean", "momentum", "random")
#: The same for point weights, whose gradients are all the same.
POINT_GROWTHS = ("gradient", "momentum", "random")

#: One optimiser, or several that share the parameters among them.
Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None


def several(given: Optimizers) -> list[torch.optim.Optimizer]:
    """The optimisers as a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, Sequence) else [given]


def parameters_of(optimizers: Sequence[torch.optim.Optimizer]) -> set[int]:
    """The id of each parameter that optimisers train."""
    return {id(p) for one in optimizers for group in one.param_groups for p in group["params"]}


def _is_zero(growth: Growth) -> bool:
    """Whether the gradient is zero everywhere, for example because all batches overflowed; then nothing moves."""
    return isinstance(growth, GrowthGradient) and growth.is_zero


class Moves:
    """Collects gradients in the batches before a move, then moves every support that is not full.

    Args:
        schedule: when, and how much.
        score: name in :data:`szilard.topology.scores.SCORES`; entries of lowest score are dropped.
        batches: batches whose gradients decide where to grow.
        growth: one of ``growths``, or a function that makes an object with the interface
            :class:`szilard.sparse.growth.Growth` for each weight and move. For ``"mean"`` the caller computes these
            batches with the network's mean; ``"momentum"`` is that of the dense gradient of every step.
        seed: of random growth.
        growths: names that are allowed.
    """

    def __init__(
        self,
        schedule: Schedule,
        score: str,
        batches: int = 1,
        growth: str | GrowthFactory = "noisy",
        seed: int = 0,
        growths: Sequence[str] = GROWTHS,
    ) -> None:
        if score not in SCORES:
            raise SzilardError(f"unknown removal score {score!r}: choose one of {', '.join(SCORES)}")
        if batches < 1:
            raise SzilardError(f"a move needs the gradient of at least one batch, not {batches}")
        if growth not in growths and not callable(growth):
            raise SzilardError(
                f"growth must be one of {', '.join(growths)}, or in Python a function that makes a sparse.Growth, not "
                f"{growth!r}"
            )
        self.schedule, self.score, self.batches, self.growth = schedule, score, batches, growth
        self.seed = seed
        self._growth: dict[int, Growth] = {}  # by number of the layer, while gradients are collected
        self._resumed: dict[int, Any] = {}  # states of these

    #: Whether entries move between weights, so that full weights need the growth gradient, too.
    redistributes = False

    @property
    def listening(self) -> bool:
        """Whether the next batch is one of those whose gradients decide where to grow."""
        return bool(self._growth)

    def listen(self, network: nn.Module, step: int, total: int) -> None:
        """Start collecting gradients if it is time; to be called before the forward pass of ``step``."""
        if not self._collects(step, total):
            return
        for number, (_, weight, rows_gradient) in enumerate(every_weight(network)):
            support = weight.support
            if not self._hears(weight):
                continue
            if number not in self._growth:
                growth = self._made(rows_gradient, support.rows * support.cols)
                if number in self._resumed:
                    growth.resume(self._resumed.pop(number))
                self._growth[number] = growth
            found = weight.growth = self._growth[number]
            if isinstance(found, MomentumGrowth):
                found.begin(step)

    @torch.no_grad()
    def apply(self, network: nn.Module, optimizer: Optimizers, step: int, total: int) -> int:
        """Move supports if it is time; to be called after optimiser step ``step``. Returns the number of new entries in
        the network."""
        fraction = self.schedule.fraction_at(step, total)
        if not fraction or not (self._growth or self.growth == "random"):
            return 0
        given = several(optimizer)
        trained = parameters_of(given)
        new = 0
        for number, (_, weight, _) in enumerate(every_weight(network)):
            growth = self._growth.get(number)
            if self.growth == "random" and not weight.support.is_full:
                growth = RandomGrowth(mix(self.seed, step, number))
            weight.growth = None
            # A weight that is frozen, or that no optimiser trains, keeps its entries: new ones would stay at zero.
            free = weight.mean.requires_grad and (not given or id(weight.mean) in trained)
            if growth is not None and len(growth) and free and not _is_zero(growth):
                new += self._move(weight, growth, given, fraction)
        if self.growth != "momentum" or not self._collects(step, total):
            self._growth = {}
        return new

    def gradient_examples(self, batches: Sequence[int], steps: int, total: int) -> int:
        """Examples of those of the first ``steps`` steps that computed a dense weight gradient.

        Args:
            batches: examples in each batch of an epoch.
            steps: how many first steps.
            total: of the whole training.
        """
        return sum(batches[step % len(batches)] for step in range(steps) if self._collects(step, total))

    def _hears(self, weight: Weight) -> bool:
        """Whether a weight takes part: a full one has nowhere to grow, and a frozen one keeps its entries."""
        return weight.mean.requires_grad and not weight.support.is_full

    def _collects(self, step: int, total: int) -> bool:
        """Whether the batch of ``step`` needs the dense gradient."""
        if self.growth == "random":
            return False
        every_step = self.growth == "momentum"
        return self.schedule.collects(step, total, self.schedule.every if every_step else self.batches)

    def _made(self, rows_gradient: RowsGradient | None, entries: int) -> Growth:
        if callable(self.growth):
            return self.growth(rows_gradient, entries)
        if self.growth == "momentum":
            return MomentumGrowth(rows_gradient)
        return GrowthGradient(rows_gradient, entries)

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
