"""Fine-tuning of the integers with labels, many steps, and a price per bit.

Minimises F = E[-log p(y | x)] + λ · bits over the levels. The price of the first step away from zero is set by row and
by column, so weights become zero in whole rows and columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from szilard.compression.draft import Draft, Setting
from szilard.compression.learner import learn
from szilard.likelihood import Gaussian, Likelihood, choose


class Finetune:
    """Epochs of Adam on the levels, with labels.

    Args:
        x, y: examples ``[N, ...]`` and classes, int64 ``[N]``, or targets of the shape of the outputs.
        epochs, batch_size: of training.
        lr_levels: in levels per step.
        lr_scales, lr_offsets: of the logarithms of the rows' factors, and of biases.
        ramp: share of the steps over which λ rises to its value; Quantise has rounded at the full value before.
        augment: data augmentation: receives inputs and a generator.
    """

    name = "finetune"
    summary = "Trains the integers with labels, with a price per bit"
    order = 7
    costly = True

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        epochs: int = 20,
        batch_size: int = 128,
        lr_levels: float = 0.01,
        lr_scales: float = 1e-3,
        lr_offsets: float = 1e-3,
        ramp: float = 0.0,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        self.x, self.y = x, y
        self.epochs, self.batch_size = epochs, batch_size
        self.lr_levels, self.lr_scales, self.lr_offsets = lr_levels, lr_scales, lr_offsets
        self.ramp, self.augment = ramp, augment

    def __call__(self, draft: Draft, setting: Setting) -> None:
        steps = self.epochs * math.ceil(len(self.x) / self.batch_size)
        if not draft.quantised or not steps:
            return
        generator = torch.Generator().manual_seed(setting.seed)
        waiting: list[Tensor] = []
        known: list[Likelihood] = []

        def loss(network: nn.Module) -> Tensor:
            if not waiting:
                waiting.extend(torch.randperm(len(self.x), generator=generator).split(self.batch_size))
            rows = waiting.pop()
            x = self.x[rows] if self.augment is None else self.augment(self.x[rows], generator)
            output = setting.forward(network, x)
            output = setting.likelihood.judged(output) if setting.likelihood else output
            if not known:  # from these labels, because judging can use labels of another kind, or none
                found = choose(output.detach(), self.y[rows]).likelihood
                known.append(Gaussian() if isinstance(found, Gaussian) else found)
            return known[0].loss(output, self.y[rows]).mean()

        rise = max(1.0, self.ramp * steps)
        learn(
            draft,
            lambda step: setting.lam * min(1.0, (step + 1) / rise),
            loss,
            steps,
            lr_levels=self.lr_levels,
            lr_scales=self.lr_scales,
            lr_offsets=self.lr_offsets,
        )
