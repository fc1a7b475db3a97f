"""Let the rounded network learn from the original what it should answer.

Levels move with straight-through rounding, rows learn a factor, biases are free. F = KL(original ‖ rounded) + λ · bits,
the bits from the frequencies of the levels. No labels are needed, only inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from szilard.compress.draft import ROWS, Draft, Quantised, Setting
from szilard.data.augment import crop_flip

REFRESH = 25  # steps between two counts of the levels
MOST = 15  # magnitudes beyond share a rate


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
        tensors = {name: _Learner(name, q, draft.tensor(name)) for name, q in draft.quantised.items()}
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
                    answer = setting.forward(_With(draft.network, weights), x)
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


class _With(nn.Module):
    """A network called with other weights."""

    def __init__(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._call = lambda *x: functional_call(network, weights, x)

    def forward(self, *x: Tensor) -> Tensor:
        return self._call(*x)


class _Learner:
    """A quantised tensor whose levels and factors may move."""

    def __init__(self, name: str, quantised: Quantised, like: Tensor) -> None:
        self.name, self.like, self.code = name, like, quantised.step
        self.base = 2.0 ** (quantised.step / 16)
        row = np.zeros(len(quantised.levels)) if quantised.row is None else quantised.row
        self.levels = torch.from_numpy(quantised.levels.astype(np.float32)).requires_grad_()
        self.scale = torch.from_numpy(row * (math.log(2) / ROWS)).float().requires_grad_()
        self.slopes = torch.zeros(MOST + 1)

    def value(self) -> Tensor:
        """The tensor, with the gradient of rounding taken to be 1."""
        rounded = self.levels + (self.levels.round() - self.levels).detach()
        return (rounded * (self.scale.exp() * self.base)[:, None]).reshape(self.like.shape).to(self.like)

    def count(self) -> None:
        """Bits that a step outwards costs, by magnitude, from how often each is taken now."""
        sizes = self.levels.detach().round().abs().clamp_max(MOST + 1).long().flatten()
        often = torch.bincount(sizes, minlength=MOST + 2).float() + 0.5
        often[1:] /= 2  # two signs
        self.slopes = (often[:-1] / often[1:]).log2().clamp(0, 8)

    def bits(self) -> Tensor:
        """A rate whose slope is right."""
        size = self.levels.abs()
        return (self.slopes[size.detach().clamp_max(MOST).long()] * size).sum()

    def settle(self) -> None:
        """Take the factors to the file's grid; what is learnt from here on knows of it."""
        with torch.no_grad():
            self.scale.copy_(torch.from_numpy(self._codes()).float() * (math.log(2) / ROWS))
            self.scale.requires_grad_(False)

    def quantised(self) -> Quantised:
        levels = self.levels.detach().round().to(torch.int32).numpy()
        codes = self._codes()
        return Quantised(levels, self.code, codes if codes.any() else None)

    def _codes(self) -> np.ndarray:
        codes = (self.scale.detach().double() * (ROWS / math.log(2))).round().clamp(-128, 127)
        return codes.to(torch.int8).numpy()


def _as_they_are(x: Tensor, generator: torch.Generator) -> Tensor:
    return x
