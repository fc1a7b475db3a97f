"""A rounded tensor whose levels go on learning.

The value is scale_r · base · round(level): rounding passes the gradient through as if it were not there (Bengio et al.
2013). Bits are priced by how often each magnitude is taken now, -log2 of its share; between two magnitudes the price
is a straight line, so that its slope pulls every level inwards by what a step would save.
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
from szilard.compression.scales import Scales

REFRESH = 25  # steps between two counts of the levels
MOST = 15  # magnitudes beyond share a rate
STEEPEST = 8.0  # bits a level


class Learner:
    """A quantised tensor whose levels and factors may move."""

    def __init__(self, name: str, quantised: Quantised, like: Tensor) -> None:
        self.name, self.like, self.code = name, like, quantised.step
        self.base = 2.0 ** (quantised.step / STEPS)
        row = np.zeros(len(quantised.levels)) if quantised.row is None else quantised.row
        self.levels = torch.from_numpy(quantised.levels.astype(np.float32)).requires_grad_()
        self.col = quantised.col
        # Factors of columns stay: those of rows say nearly all that there is to learn.
        self.columns = None if self.col is None else torch.from_numpy(2.0 ** (self.col / ROWS)).float()
        self.scale = torch.from_numpy(row * (math.log(2) / ROWS)).float().requires_grad_()
        self.slopes = torch.zeros(MOST + 1)
        self.first = torch.zeros(1)

    def value(self) -> Tensor:
        """The tensor, with the gradient of rounding taken to be 1."""
        rounded = self.levels + (self.levels.round() - self.levels).detach()
        if self.columns is not None:
            rounded = rounded * self.columns
        return (rounded * (self.scale.exp() * self.base)[:, None]).reshape(self.like.shape).to(self.like)

    def count(self) -> None:
        """Bits that a step outwards costs, from how often each magnitude is taken now.

        What the first step costs depends on the row and the column: where most are zero, one more is dear, and whole
        rows and columns die out.
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
            # Log odds of one entry add up, were rows and columns independent.
            self.first = (self.slopes[0] - (row + col - 2 * every)).clamp(0, STEEPEST)

    def bits(self) -> Tensor:
        """A rate whose slope is right."""
        size = self.levels.abs()
        steps = size.detach().clamp_max(MOST).long()
        slopes = torch.where(steps == 0, self.first, self.slopes[steps])
        return (slopes * size).sum()

    def settle(self) -> None:
        """Take the factors to the file's grid; what is learnt from here on knows of it."""
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
    """Of being alive in a row or column, in bits, with half an observation of either kind."""
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
        lr_levels: in levels.
        lr_scales: of the logarithms of the factors.
        lr_offsets: of biases and other vectors, in units of their scales (:class:`szilard.compression.scales.Scales`).
    """
    kept = posterior_names(draft.network)  # their σ says how they may move
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
            # Not functional_call, because a forward of the user's may call any part of the network.
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
            _mend(optimizer)
            optimizer.step()
            scales.move()
            schedule.step()
    finally:
        for p, was in wanted.items():
            p.requires_grad_(was)
            p.grad = None
    for one in learners:
        draft.set(one.name, one.quantised())


def _mend(optimizer: torch.optim.Optimizer) -> None:
    """Gradients that are not finite, as behind the square root of 0, move nothing."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.nan_to_num_(0.0, 0.0, 0.0)
