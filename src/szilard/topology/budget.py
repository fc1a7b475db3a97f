"""How many entries a network has at each step."""

from __future__ import annotations

from dataclasses import dataclass

from szilard.errors import SzilardError


@dataclass(frozen=True)
class CubicBudget:
    """The density falls from ``initial`` to ``final`` along a cubic (Zhu and Gupta 2017, arXiv:1710.01878).

    At step t of ``total`` it is final + (initial - final) (1 - s)³, where s rises linearly from 0 at ``begin`` to 1 at
    ``end``.

    Args:
        initial, final: densities, in (0, 1]; the final one is not above the initial one.
        every: steps between two changes.
        begin, end: fractions of all steps.
    """

    initial: float
    final: float
    every: int = 100
    begin: float = 0.0
    end: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.final <= self.initial <= 1:
            raise SzilardError(
                f"densities must fall from the initial to the final one in (0, 1], not from {self.initial:g} to "
                f"{self.final:g}"
            )
        if self.every < 1 or not 0 <= self.begin < self.end <= 1:
            raise SzilardError(
                "a budget needs every >= 1 and 0 <= begin < end <= 1, not "
                f"every={self.every}, begin={self.begin:g}, end={self.end:g}"
            )

    def density_at(self, step: int, total: int) -> float:
        """The density after a step, whether or not it changes there."""
        first, last = self.begin * total, self.end * total
        if step >= last:
            return self.final
        return self.final + (self.initial - self.final) * (1 - max(0.0, step - first) / (last - first)) ** 3

    def changes(self, step: int, total: int) -> bool:
        """Whether the number of entries changes after this step: every few steps, and once at the end."""
        first, last = self.begin * total, self.end * total
        if not first < step < last + 1 or self.initial == self.final:
            return False
        return step % self.every == 0 or step - 1 < last <= step
