"""Training that removes weights on the way: gradual magnitude pruning, and GraNet, which also moves them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from szilard.methods import checks, shared
from szilard.methods.deterministic import Deterministic
from szilard.methods.resizing import Resizing, dense_entries, trained
from szilard.sparse import check_density, make_pattern
from szilard.sparse.one_threshold import largest_of_all
from szilard.sparse.pattern import UNSTRUCTURED
from szilard.topology.budget import CubicBudget
from szilard.topology.moves import Optimizers
from szilard.topology.resized import resize

_EVERY, _CHANGES = 100, 20  # the default interval, and how many changes there are at least


class GradualPruning(Resizing, Deterministic):
    """Prune by global magnitude while training: the density falls along a cubic to its final value.

    Every ``every`` steps the entries of smallest |w| of the whole network are removed. Training starts dense, so that
    it saves less than a method that is sparse from the first step.

    Args:
        density: final fraction of weights that exist.
        initial_density: fraction of weights at the start.
        begin, end: fractions of all steps between which the density falls.
        every: optimiser steps between two changes of the density; by default 100, or in short runs a twentieth of the
            steps in which it falls.
        allocation: of a first support below density 1: ``"erk"``, ``"uniform"``, ``"flops"`` or ``"global"``.
        dense_stem: leave the first layer dense if it is a convolution; densities are then those of the others.
        fraction: fraction of the remaining entries of each weight that the first change also replaces.
        last: fraction of the entries that the last change replaces.
        growth_batches: batches over which the growth gradient is averaged.
    """

    name = "gradual"
    label = "gradual pruning"
    summary = "Prunes by magnitude while it trains, from a dense start"
    source = "Zhu and Gupta 2017, arXiv:1710.01878"
    order = 24
    baseline = False

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        initial_density: float = 1.0,
        begin: float = 0.0,
        end: float = 0.75,
        every: int | None = None,
        allocation: str = "erk",
        dense_stem: bool = False,
        fraction: float = 0.0,
        last: float = 0.0,
        growth_batches: int = 1,
        **options: Any,
    ) -> None:
        checks.single_weights(self.label, make_pattern(options.get("pattern", UNSTRUCTURED)).name)
        super().__init__(
            n_data, density=initial_density, allocation=allocation, dense_stem=dense_stem,
            every=_EVERY if every is None else every, end=end, fraction=fraction, last=last,
            growth_batches=growth_batches, **options,
        )  # fmt: skip
        check_density(density)
        self.initial_density, self.density = initial_density, density
        self.every = every
        self.budget = CubicBudget(initial_density, density, _EVERY if every is None else every, begin, end)
        if self.total_steps is not None:
            self._settle(self.total_steps)

    def _settle(self, total: int) -> None:
        """Set the default interval, once the number of steps is known."""
        if self.every is None:
            length = (self.budget.end - self.budget.begin) * total
            every = min(_EVERY, max(1, math.floor(length / _CHANGES)))
            self.budget = replace(self.budget, every=every)
            self.moves.schedule = replace(self.moves.schedule, every=every)

    def check_run(self, total_steps: int, processes: int, batch_size: int) -> None:
        super().check_run(total_steps, processes, batch_size)
        self._settle(total_steps)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.total_steps is not None:
            self._settle(self.total_steps)

    def _convert(self, network: nn.Module) -> nn.Module:
        return self._on_supports(network, self.initial_density, prunes=True)

    def after_step(self, network: nn.Module, optimizer: Optimizers = None) -> None:
        self._count_entries(network)
        # Entries are removed first, so that the moves of the same step fill a support of the new size.
        total = self.total_steps or 0
        if self.budget.changes(self.step + 1, total):
            self._prune(network, optimizer, self.budget.density_at(self.step + 1, total))
        super().after_step(network, optimizer)

    @torch.no_grad()
    def _prune(self, network: nn.Module, optimizer: Optimizers, density: float) -> None:
        weights = [weight for weight in trained(network) if not weight.stem]
        total = max(round(density * dense_entries(weights)), len(weights))
        if total >= sum(weight.support.nnz for weight in weights):
            return
        kept = largest_of_all([weight.mean.abs() for weight in weights], total)
        optimizers = checks.with_optimizer(self.label, optimizer, weights)
        for weight, mask in zip(weights, kept, strict=True):
            if not bool(mask.all()):
                growth = weight.growth
                resize(weight, weight.support.flat()[mask], optimizers)
                weight.growth = growth
        shared.check_supports(weights, self.label)


class GraNet(GradualPruning):
    """Gradual pruning with regrowth: after each pruning step a fraction of each weight's entries moves.

    Args:
        density: final fraction of weights that exist.
        initial_density: fraction of weights at the start.
        begin, end: fractions of all steps between which the density falls and entries move.
        every: optimiser steps between two changes; by default 100, or in short runs a twentieth of the steps in which
            the density falls.
        fraction: fraction of the entries of each weight that the first change replaces.
        last: fraction of the entries that the last change replaces.
    """

    name = "granet"
    label = "GraNet"
    summary = "Prunes while it trains, and regrows by the gradient"
    source = "Liu et al. 2021, arXiv:2106.10404"
    order = 25

    def __init__(
        self,
        n_data: int,
        *,
        density: float = 0.05,
        initial_density: float = 0.5,
        begin: float = 0.0,
        end: float = 0.5,
        every: int | None = None,
        fraction: float = 0.5,
        last: float = 0.005,
        **options: Any,
    ) -> None:
        super().__init__(
            n_data, density=density, initial_density=initial_density, begin=begin, end=end, every=every,
            fraction=fraction, last=last, **options,
        )  # fmt: skip
