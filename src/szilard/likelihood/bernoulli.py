"""Independent binary labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood.categorical import IGNORED
from szilard.likelihood.likelihood import Likelihood, by_example, precise, same_shape, values_known

LEAST = 1e-7  # probability


class Bernoulli(Likelihood):
    """One logit for each label, ``[B]`` or ``[B, ...]``; the score is the fraction of labels predicted correctly.

    Labels are 0 or 1; -100 marks an unknown label, which is left out.

    Args:
        probabilities: the outputs are probabilities, after a sigmoid.
    """

    name = "multilabel"
    score = "accuracy by label"
    relative = False
    unlabelled = "the original's probability of the predicted labels"

    def __init__(self, *, probabilities: bool = False) -> None:
        self.probabilities = probabilities

    def logits(self, output: Tensor) -> Tensor:
        output = precise(output)
        return torch.logit(output, LEAST) if self.probabilities else output

    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        terms = self._terms(output, y)
        return terms.reshape(len(terms), -1).sum(1)

    def _terms(self, output: Tensor, y: Tensor) -> Tensor:
        """NLL of each label in nats, of the outputs' shape."""
        z, y = self.logits(output), y.reshape(output.shape)
        unknown = y == IGNORED
        loss = F.binary_cross_entropy_with_logits(z, y.to(z).masked_fill(unknown, 0.0), reduction="none")
        return loss.masked_fill(unknown, 0.0)

    def labelled(self, output: Tensor, y: Tensor) -> Tensor | None:
        known = y.reshape(len(output), -1) != IGNORED
        if known.is_cpu and values_known(known) and bool(known.all()):
            return None
        return known.any(1)

    def _mean(self, y: Tensor, values: Tensor) -> Tensor:
        """Mean over the known labels of each example."""
        known = (y != IGNORED).reshape(len(values), -1)
        if bool(known.all()):
            return by_example(values)
        values = values.double().reshape(len(values), -1)
        return (values * known).sum(1) / known.sum(1).clamp_min(1)

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        return self._mean(y, (self.logits(output) > 0) == (y.reshape(output.shape) > 0.5))

    def answers(self, output: Tensor) -> Tensor:
        return (self.logits(output) > 0).long()

    def label_probability(self, output: Tensor, y: Tensor) -> Tensor:
        p = self.logits(output).sigmoid()
        return self._mean(y, torch.where(y.reshape(p.shape) > 0.5, p, 1 - p))

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        p = self.logits(original).sigmoid()
        return by_example(torch.where(self.logits(output) > 0, p, 1 - p))

    def guessing(self, y: Tensor) -> float:
        labels = y.reshape(len(y), -1)
        known = labels != IGNORED
        count = known.sum(0)
        share = (labels > 0.5).double().sum(0) / count.clamp_min(1)
        best = torch.maximum(share, 1 - share)[count > 0]
        return float(best.mean()) if best.numel() else 0.0

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
        if not bool(((y == 0) | (y == 1) | (y == IGNORED)).all()):
            known = y[y != IGNORED]
            hint = "divide a mask of 0 and 255 by 255" if bool((known == 255).any()) else "round soft ones"
            raise SzilardError(
                f"binary labels must be 0 or 1 (or {IGNORED} for unknown), and these are not; "
                f'{hint}, or give task="regression" for quantities'
            )
