"""What the guard returns, and what it notes on the way."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SUPPORT, LASSO, NONE = "support", "lasso", "none"


class Answer(NamedTuple):
    """Certified codes of B samples."""

    x: Tensor  #: codes ``[B, n]`` in the units of the given matrix, in the solver's dtype
    residual: Tensor  #: ‖b - A x‖ / ‖b‖ of each sample ``[B]``, float64
    certificate: tuple[str, ...]  #: "support", "lasso" or "none", for each sample
    penalty: Tensor  #: λ of samples that fell back ``[B]``; NaN for others
    gap: Tensor  #: relative duality gap at that λ ``[B]``; NaN for samples that did not fall back
    cg_steps: Tensor  #: of the fit that was accepted ``[B]``; 0 where none was
    layers: Tensor  #: of the solver, until the sample was accepted or given up ``[B]``
    counts: dict[str, int]  #: samples by certificate, and how many fell back ("fallback")

    def __repr__(self) -> str:
        parts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"Answer({len(self.x)} samples of {self.x.shape[1]} codes: {parts})"


class Notes:
    """What is known of each sample while a guard works."""

    def __init__(
        self, b: Tensor, n: int, bound: Tensor, deviation: Tensor | None, *, trial: bool = False
    ) -> None:
        B = len(b)
        self.bound, self.deviation, self.trial = bound, deviation, trial
        self.x = torch.zeros(B, n, dtype=torch.float64, device=b.device)
        self.certificate = [NONE] * B
        self.steps = torch.zeros(B, dtype=torch.long, device=b.device)
        self.layers = torch.zeros(B, dtype=torch.long, device=b.device)
        self.gap = torch.full((B,), torch.nan, dtype=torch.float64, device=b.device)
        self.penalty = self.gap.clone()

    def certify(self, rows: Tensor, name: str) -> None:
        """Gives samples a certificate."""
        for row in rows.tolist():
            self.certificate[row] = name

    def warning(self, fix: str) -> str:
        """The sentence about samples without a certificate.

        Args:
            fix: what can be done.
        """
        count, first = self.certificate.count(NONE), self.certificate.index(NONE)
        gap = float(self.gap[first])
        which = f"the first is row {first}" + (
            "" if math.isnan(gap) else f", with a duality gap of {gap:.1e}"
        )
        of_all = f"{count} of {len(self.certificate)} samples have no certificate"
        return f"{of_all} ({which}); do not trust their codes, or {fix}"
