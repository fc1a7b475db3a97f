"""Train the levels of rounded tensors.

The value is scale_r · base · round(level). The gradient passes through rounding unchanged (straight-through; Bengio et
al. 2013). The bits of a level follow from the present frequency of its magnitude, -log2 of its share. Between two
magnitudes they are interpolated linearly, so the slope pulls every level towards zero by the bits that a step saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from szilard.compression.draft import ROWS, STEPS, Draft, Quantised
from szilard.compression.group_norm import ContiguousGroupNorm
from szilard.compression.passes.posterior import posterior_names
from szilard.compression.vector_scales import Scales

REFRESH = 25  # steps between two counts of the levels
MOST = 15  # all larger magnitudes share a rate
STEEPEST = 8.0  # largest slope, bits per level


class Learner:
    """A quantised tensor with trainable levels and factors of rows."""

    def __init__(self, name: str, quantised: Quantised, like: Tensor) -> None:
        self.name, self.like, self.code = name, like, quantised.step
        self.base = 2.0 ** (quantised.step / STEPS)
        row = np.zeros(len(quantised.levels)) if quantised.row is None else quantised.row
        self.levels = torch.from_numpy(quantised.levels.astype(np.float32)).requires_grad_()
        self.col = quantised.col
        # Factors of columns stay fixed: training them, too, gains almost nothing.
        self.columns = None if self.col is None else torch.from_numpy(2.0 ** (self.col / ROWS)).float()
        self.scale = torch.from_numpy(row * (math.log(2) / ROWS)).float().requires_grad_()
        self.slopes = torch.zeros(MOST + 1)
        self.first = torch.zeros(1)

    def value(self) -> Tensor:
        """The tensor, with a gradient of 1 for rounding."""
        rounded = self.levels + (self.levels.round() - self.levels).detach()
        if self.columns is not None:
            rounded = rounded * self.columns
        return (rounded * (self.scale.exp() * self.base)[:, None]).reshape(self.like.shape).to(self.like)

    def count(self) -> None:
        """Update the bits that a step away from zero costs, from the present frequencies of magnitudes.

        The cost of the first step depends on the row and the column: if most entries there are zero, one more nonzero
        entry costs much, and whole rows and columns become zero.
        """
        with torch.no_grad():
            sizes = self.levels.round().abs()
            often = (
                torch.bincount(sizes.clamp_max(MOST + 1).long().flatten(), minlength=MOST + 2).float() + 0.5
            )
            often[1:] /= 2  # two signs
            self.slopes = (often[:-1] / often[1:]).log2().clamp(0, STEEPEST)
            alive = (sizes > 0).float()
            row, col, every = (_log_odds(alive, axis) for axis in (1, 0, None))
            # Log odds of an entry are a sum if rows and columns are independent.
            self.first = (self.slopes[0] - (row + col - 2 * every)).clamp(0, STEEPEST)

    def bits(self) -> Tensor:
        """Bits up to a constant, with the right slope."""
        size = self.levels.abs()
        steps = size.detach().clamp_max(MOST).long()
        slopes = torch.where(steps == 0, self.first, self.slopes[steps])
        return (slopes * size).sum()

    def settle(self) -> None:
        """Round the factors to the file's grid and fix them; training continues with the rounded factors."""
        with torch.no_grad():
            self.scale.copy_(torch.from_numpy(self._codes()).float() * (math.log(2) / ROWS))
            self.scale.requires_grad_(False)

    def quantised(self) -> Quantised:
        levels = self.levels.detach().round().to(torch.int32).numpy()
        codes = self._codes()
        return Quantised(levels, self.code, codes if codes.any() else None, self.col)

    def _codes(self) -> np.ndarray:
        codes = (self.scale.detach().double() * (ROWS / math.log(2))).round().clamp(-128, 127)
        return codes.to(torch.int8).numpy()


def _log_odds(alive: Tensor, axis: int | None) -> Tensor:
    """Log odds of nonzero entries in a row or column, in bits, with half an observation added to each count."""
    count = alive.sum() if axis is None else alive.sum(axis, keepdim=True)
    total = alive.numel() if axis is None else alive.shape[axis]
    return ((count + 0.5) / (total - count + 0.5)).log2()


def learn(
    draft: Draft,
    lam: Callable[[int], float],
    losses: Callable[[nn.Module], Tensor],
    steps: int,
    *,
    lr_levels: float,
    lr_scales: float,
    lr_offsets: float,
) -> None:
    """Adam on the levels, the rows' factors and the biases of a draft, with cosine schedules; F = loss + λ · bits.

    Args:
        draft: quantised; its levels are replaced.
        lam: λ at a step.
        losses: mean loss per example of a network on the next batch, in nats.
        steps: of the optimiser.
        lr_levels: learning rate of the levels, in levels.
        lr_scales: of the logarithms of the factors.
        lr_offsets: of biases and other vectors, in units of their scales
            (:class:`szilard.compression.vector_scales.Scales`).
    """
    kept = posterior_names(draft.network)  # rounded by their σ instead
    learners = [
        Learner(name, q, draft.tensor(name)) for name, q in draft.quantised.items() if name not in kept
    ]
    names = {*kept, *(one.name for one in learners)}
    offsets = {
        name: p
        for name, p in draft.network.named_parameters()
        if p.dim() == 1 and p.is_floating_point() and not bool((p == p[:1]).all()) and name not in names
    }
    scales = Scales(draft.network, offsets)
    wanted = {p: p.requires_grad for p in draft.network.parameters()}
    for p in wanted:
        p.requires_grad_(False)
    for p in offsets.values():
        p.requires_grad_(True)
    groups: list[dict[str, Any]] = [
        {"params": [one.levels for one in learners], "lr": lr_levels},
        {"params": [one.scale for one in learners], "lr": lr_scales},
        {"params": scales.moves, "lr": lr_offsets},
    ]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    try:
        for step in range(steps):
            if step == 2 * steps // 3:
                for one in learners:
                    one.settle()
            if step % REFRESH == 0:
                for one in learners:
                    one.count()
            values = {one.name: one.value() for one in learners}
            # Not functional_call, because a user's forward can call any part of the network.
            with (
                torch.enable_grad(),
                ContiguousGroupNorm(),
                scales.watching(step == 0),
                _reparametrize_module(draft.network, values, tie_weights=True),
            ):
                loss = losses(draft.network)
                loss = loss + lam(step) * sum(one.bits() for one in learners)
                optimizer.zero_grad()
                loss.backward()
            scales.take_gradients()
            _zero_infinite_gradients(optimizer)
            optimizer.step()
            scales.move()
            schedule.step()
    finally:
        for p, was in wanted.items():
            p.requires_grad_(was)
            p.grad = None
    for one in learners:
        draft.set(one.name, one.quantised())


def _zero_infinite_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Set gradients that are not finite to 0, such as that of a square root at 0."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.nan_to_num_(0.0, 0.0, 0.0)
