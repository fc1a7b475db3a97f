"""When a support moves, and how many of its entries are replaced."""

from __future__ import annotations

import math
from dataclasses import dataclass

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Schedule:
    """Moves every ``every`` steps until ``end`` (a fraction of all steps), replacing fewer entries each time.

    At step t of ``total`` the fraction replaced falls from ``fraction`` to ``last`` along half a cosine,
    ``last + (fraction - last) / 2 * (1 + cos(pi t / (end * total)))`` (Evci et al. 2020, "Rigging the Lottery"). With
    ``last = fraction`` it is constant.
    """

    every: int = 100
    fraction: float = 0.3
    end: float = 0.75
    last: float = 0.0

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.fraction <= 1 or not 0 <= self.end <= 1:
            raise SzilardError(
                "a topology schedule needs every >= 1 and fraction and end in [0, 1], "
                f"not every={self.every}, fraction={self.fraction}, end={self.end}"
            )
        if not 0 <= self.last <= self.fraction:
            raise SzilardError(
                f"the last fraction of a topology schedule must be in [0, {self.fraction}], not {self.last}: moves "
                "never become larger"
            )

    def fraction_at(self, step: int, total: int) -> float:
        """Fraction of the entries to replace after ``step`` optimiser steps (0: no move)."""
        final = self.end * total
        if step <= 0 or step >= final or step % self.every or not self.fraction:
            return 0.0
        return self.last + (self.fraction - self.last) / 2 * (1 + math.cos(math.pi * step / final))

    def collects(self, step: int, total: int, batches: int) -> bool:
        """Whether the batch of ``step`` is among the last ``batches`` before the next move."""
        ahead = -(step + 1) % self.every
        return ahead < batches and self.fraction_at(step + 1 + ahead, total) > 0
