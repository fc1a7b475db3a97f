"""Let the rounded network learn from the original what it should answer.

Levels move with straight-through rounding, rows learn a factor, biases are free. F = KL(original ‖ rounded) + λ · bits,
the bits from the frequencies of the levels. No labels are needed, only inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.compress.draft import Draft, Setting
from szilard.compress.learner import REFRESH, Learner, With
from szilard.data.augment import crop_flip


class Distil:
    """Some hundred steps of Adam on the levels themselves. A search over λ leaves it for its end.

    Args:
        steps, batch_size: of the optimiser.
        lr_levels: in levels per step; the largest move is about the sum over the steps.
        lr_scales, lr_offsets: of the logarithms of the rows' factors, and of biases.
        augment: of the inputs; pictures in three colours are shifted and mirrored by default.
    """

    costly = True

    def __init__(
        self,
        *,
        steps: int = 150,
        batch_size: int = 64,
        lr_levels: float = 0.01,
        lr_scales: float = 1e-3,
        lr_offsets: float = 1e-3,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        self.steps, self.batch_size = steps, batch_size
        self.lr_levels, self.lr_scales, self.lr_offsets = lr_levels, lr_scales, lr_offsets
        self.augment = augment

    def __call__(self, draft: Draft, setting: Setting) -> None:
        if not setting.inputs or not draft.quantised or not self.steps:
            return
        inputs = torch.cat(list(setting.inputs))
        augment = self.augment or (crop_flip if inputs.dim() == 4 and inputs.shape[1] == 3 else _as_they_are)
        generator = torch.Generator().manual_seed(setting.seed)
        tensors = {name: Learner(name, q, draft.tensor(name)) for name, q in draft.quantised.items()}
        offsets = [
            p
            for name, p in draft.network.named_parameters()
            if p.dim() == 1 and p.is_floating_point() and not bool((p == p[:1]).all()) and name not in tensors
        ]
        learners = list(tensors.values())
        wanted = {p: p.requires_grad for p in draft.network.parameters()}
        for p in wanted:
            p.requires_grad_(False)
        for p in offsets:
            p.requires_grad_(True)
        groups: list[dict[str, Any]] = [
            {"params": [one.levels for one in learners], "lr": self.lr_levels},
            {"params": [one.scale for one in learners], "lr": self.lr_scales},
            {"params": offsets, "lr": self.lr_offsets},
        ]
        optimizer = torch.optim.Adam([g for g in groups if g["params"]])
        rates = [group["lr"] for group in optimizer.param_groups]
        try:
            for step in range(self.steps):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))
                if step == 2 * self.steps // 3:
                    for one in learners:
                        one.settle()
                if step % REFRESH == 0:
                    for one in learners:
                        one.count()
                chosen = torch.randint(len(inputs), (min(self.batch_size, len(inputs)),), generator=generator)
                x = augment(inputs[chosen], generator)
                with torch.no_grad():
                    wanted_answer = setting.forward(setting.original, x)
                with torch.enable_grad():
                    weights = {one.name: one.value() for one in learners}
                    answer = setting.forward(With(draft.network, weights), x)
                    loss = divergence(wanted_answer, answer) + setting.lam * sum(
                        one.bits() for one in learners
                    )
                    optimizer.zero_grad()
                    loss.backward()
                optimizer.step()
        finally:
            for p, was in wanted.items():
                p.requires_grad_(was)
                p.grad = None
        for one in learners:
            draft.set(one.name, one.quantised())


def divergence(wanted: Tensor, answer: Tensor) -> Tensor:
    """KL between the answers' distributions in nats per example for logits ``[B, C]``; else half the squared error."""
    if answer.dim() == 2 and answer.shape[1] > 1:
        return F.kl_div(answer.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")
    return 0.5 * (answer - wanted).square().flatten(1).sum(1).mean()


def _as_they_are(x: Tensor, generator: torch.Generator) -> Tensor:
    return x
