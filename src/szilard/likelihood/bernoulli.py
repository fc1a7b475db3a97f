"""Labels that are each there or not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood.likelihood import Likelihood, by_example, precise, same_shape

LEAST = 1e-7  # probability


class Bernoulli(Likelihood):
    """One logit for each label, ``[B]``, ``[B, 1]`` or ``[B, k]``; the score is the share of labels that are right.

    Args:
        probabilities: outputs have gone through a sigmoid already.
    """

    name = "multilabel"
    score = "accuracy by label"
    relative = False

    def __init__(self, *, probabilities: bool = False) -> None:
        self.probabilities = probabilities

    def logits(self, output: Tensor) -> Tensor:
        output = precise(output)
        return torch.logit(output, LEAST) if self.probabilities else output

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        z = self.logits(output)
        loss = F.binary_cross_entropy_with_logits(z, y.reshape(z.shape).to(z), reduction="none")
        return loss.reshape(len(loss), -1).sum(1)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return by_example((self.logits(output) > 0) == (y.reshape(output.shape) > 0.5))

    def sureness(self, output: Tensor, y: Tensor) -> Tensor:
        p = self.logits(output).sigmoid()
        return by_example(torch.where(y.reshape(p.shape) > 0.5, p, 1 - p))

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        p = self.logits(original).sigmoid()
        return by_example(torch.where(self.logits(output) > 0, p, 1 - p))

    def guessing(self, y: Tensor) -> float:
        share = (y.reshape(len(y), -1) > 0.5).double().mean(0)
        return float(torch.maximum(share, 1 - share).mean())

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """√(p (1 - p)) ε, with p at temperature τ."""
        noise = torch.randn(output.shape, generator=generator).to(output)
        p = (self.logits(output) / softness).sigmoid()
        gradient = (p * (1 - p)).sqrt() * noise
        if self.probabilities:  # d logit / d p
            inside = output.clamp(LEAST, 1 - LEAST)
            gradient = gradient / (inside * (1 - inside))
        return gradient.to(output)

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        z, wanted = self.logits(answer), self.logits(wanted)
        p = wanted.sigmoid()
        loss = F.binary_cross_entropy_with_logits(z, p, reduction="sum")
        return (loss - F.binary_cross_entropy_with_logits(wanted, p, reduction="sum")) / max(1, len(z))

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        if not same_shape(y.shape, output.shape):
            raise SzilardError(
                f"labels have shape {list(y.shape)} and outputs {list(output.shape)}; give a 0 or 1 for each output"
            )

    def check_values(self, output: Tensor, y: Tensor) -> None:
        if not bool(((y == 0) | (y == 1)).all()):
            raise SzilardError(
                'labels that are there or not must be 0 or 1, and these are not; mend them, or give task="regression"'
            )
