"""Distillation: train the rounded network on the outputs of the original.

Levels are trained with straight-through rounding, with a factor for each row, and biases are trained, too. It minimises
F = KL(original ‖ rounded) + λ · bits, with bits from the frequencies of the levels. Only inputs are needed, no labels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import cost
from szilard.coding import Encoder, Model
from szilard.compression.batches import length, mapped, rows, together
from szilard.compression.draft import Draft, Setting
from szilard.compression.half_precision import in_float32
from szilard.compression.learner import learn
from szilard.data.augment import crop_flip
from szilard.networks import copied

CHEAP = 1e12  # multiply-adds


class Distil:
    """Some hundred steps of Adam on the levels. A search over λ runs it only at the end.

    If F on the calibration inputs is not smaller afterwards, the result is discarded. Networks of half precision are
    trained in float32.

    Args:
        steps, batch_size: of the optimiser.
        lr_levels: in levels per step; the largest change is about the sum over the steps.
        lr_scales: of the logarithms of the rows' factors.
        lr_offsets: of biases, relative to the deviation of the numbers to which they are added.
        augment: data augmentation of the inputs; images with three channels are shifted and mirrored by default.
    """

    name = "distil"
    summary = "Trains the integers on the outputs of the original"
    order = 6
    costly = True
    undo_if_worse = True

    def __init__(
        self,
        *,
        steps: int = 150,
        batch_size: int = 64,
        lr_levels: float = 0.01,
        lr_scales: float = 1e-3,
        lr_offsets: float = 1e-3,
        augment: Callable[[Any, torch.Generator], Any] | None = None,
    ) -> None:
        self.steps, self.batch_size = steps, batch_size
        self.lr_levels, self.lr_scales, self.lr_offsets = lr_levels, lr_scales, lr_offsets
        self.augment = augment

    def __call__(self, draft: Draft, setting: Setting) -> None:
        if not setting.inputs or not draft.quantised or not self.steps:
            return
        with in_float32(draft.network) as changed:
            original, inputs = setting.original, together(setting.inputs)
            if changed:
                original = copied(original).float()
                inputs = mapped(inputs, lambda t: t.float() if t.is_floating_point() else t)
            saved = draft.saved()
            try:
                before = self._free_energy(draft, original, inputs, setting)
                self._learn(draft, original, inputs, setting)
                helped = self._free_energy(draft, original, inputs, setting) <= before
            except (RuntimeError, TypeError):
                if not changed:
                    raise
                helped = False  # the forward needs the original type
            if not helped:
                draft.restore(saved)

    def _learn(self, draft: Draft, original: nn.Module, inputs: Any, setting: Setting) -> None:
        count = length(inputs)
        images = isinstance(inputs, Tensor) and inputs.dim() == 4 and inputs.shape[1] == 3
        augment = self.augment or (crop_flip if images else _unchanged)
        generator = torch.Generator().manual_seed(setting.seed)

        taken = itertools.count(1)

        def loss(network: nn.Module) -> Tensor:
            setting.progress.step("step", next(taken), self.steps)
            chosen = torch.randint(count, (min(self.batch_size, count),), generator=generator)
            x = augment(rows(inputs, chosen), generator)
            with torch.no_grad():
                wanted = setting.forward(original, x)
            return _divergence_of(setting)(wanted, setting.forward(network, x))

        learn(
            draft,
            lambda step: setting.lam,
            loss,
            self.steps,
            lr_levels=self.lr_levels,
            lr_scales=self.lr_scales,
            lr_offsets=self.lr_offsets,
        )

    @torch.no_grad()
    def _free_energy(self, draft: Draft, original: nn.Module, inputs: Any, setting: Setting) -> float:
        """F of a draft on the inputs without augmentation; infinite if outputs are NaN."""
        count, total = length(inputs), 0.0
        for start in range(0, count, self.batch_size):
            x = rows(inputs, slice(start, start + self.batch_size))
            loss = _divergence_of(setting)(setting.forward(original, x), setting.forward(draft.network, x))
            total += float(loss) * min(self.batch_size, count - start) / count
        bits = sum(Encoder().rate(one.levels, Model.HISTORY) for one in draft.quantised.values())
        return total + setting.lam * bits if math.isfinite(total) else math.inf


def _divergence_of(setting: Setting) -> Callable[[Tensor, Tensor], Tensor]:
    """The function that compares outputs."""
    return setting.likelihood.divergence if setting.likelihood else divergence


def is_cheap(network: nn.Module, x: Tensor) -> bool:
    """Whether the default distillation takes at most :data:`CHEAP` multiply-adds.

    Each step runs the original and the compressed network, and differentiates the latter: four forward passes.
    """
    macs = macs_of(network, x)
    return macs is not None and 4 * 2 * macs * 64 * 150 <= CHEAP


def macs_of(network: nn.Module, x: Tensor) -> int | None:
    """Multiply-adds of a forward pass for one example; None if they cannot be counted."""
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        return None  # its parameters cannot be replaced by trained ones
    try:
        if (
            not x.is_floating_point()
        ):  # most such networks take no floats; to count imports torch's compiler, 80 MB
            first = next(network.parameters())
            with torch.no_grad():
                network(torch.zeros(1, *x.shape[1:], device=first.device, dtype=first.dtype))
        return cost.count(network, tuple(x.shape[1:])).macs
    except Exception:  # inputs that are not images or features, such as tokens
        return None


def divergence(wanted: Tensor, output: Tensor) -> Tensor:
    """KL of the predictive distributions in nats per example for logits ``[B, C]``; else half the squared error."""
    if output.dim() == 2 and output.shape[1] > 1:
        return F.kl_div(output.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")
    return 0.5 * (output - wanted).square().flatten(1).sum(1).mean()


def _unchanged(x: Any, generator: torch.Generator) -> Any:
    return x
