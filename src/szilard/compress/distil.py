"""Let the rounded network learn from the original what it should answer.

Levels move with straight-through rounding, rows learn a factor, biases are free. F = KL(original ‖ rounded) + λ · bits,
the bits from the frequencies of the levels. No labels are needed, only inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import cost
from szilard.compress.draft import Draft, Setting
from szilard.compress.learner import learn
from szilard.data.augment import crop_flip

CHEAP = 1e12  # multiplications and additions


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

        def loss(network: nn.Module) -> Tensor:
            chosen = torch.randint(len(inputs), (min(self.batch_size, len(inputs)),), generator=generator)
            x = augment(inputs[chosen], generator)
            with torch.no_grad():
                wanted = setting.forward(setting.original, x)
            told = setting.likelihood.divergence if setting.likelihood else divergence
            return told(wanted, setting.forward(network, x))

        learn(
            draft,
            lambda step: setting.lam,
            loss,
            self.steps,
            lr_levels=self.lr_levels,
            lr_scales=self.lr_scales,
            lr_offsets=self.lr_offsets,
        )


def is_cheap(network: nn.Module, x: Tensor) -> bool:
    """Whether the default distillation takes at most :data:`CHEAP` multiplications and additions.

    The original and the small network answer, and the small one is differentiated: four times the work of an answer.
    """
    try:
        macs = cost.count(network, tuple(x.shape[1:])).macs
    except Exception:  # inputs that are no pictures or features, such as tokens
        return False
    return macs is not None and 4 * 2 * macs * 64 * 150 <= CHEAP


def divergence(wanted: Tensor, answer: Tensor) -> Tensor:
    """KL between the answers' distributions in nats per example for logits ``[B, C]``; else half the squared error."""
    if answer.dim() == 2 and answer.shape[1] > 1:
        return F.kl_div(answer.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")
    return 0.5 * (answer - wanted).square().flatten(1).sum(1).mean()


def _as_they_are(x: Tensor, generator: torch.Generator) -> Tensor:
    return x
