"""Iterative pruning: training in phases, between which a fraction of the remaining entries is removed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Levels:
    """Phases of equal length; after each but the last a fraction of the remaining entries is removed.

    After level l the density is (1 - prune)^l, and after the last one it is ``density`` exactly. The number of levels
    is the smallest that reaches it. There is one phase more than levels, and the last phase also gets the steps by
    which the total is not divisible.

    Args:
        density: final fraction of weights that exist, in (0, 1).
        prune: fraction of the remaining weights that each level removes, in (0, 1).
        rewind: step of a phase to which later phases return, as a fraction of a phase, in [0, 1).
        one_shot: whether a single level removes all.

    Raises:
        SzilardError: an argument out of its range.
    """

    density: float
    prune: float = 0.2
    rewind: float = 0.05
    one_shot: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.density < 1:
            raise SzilardError(
                f"levels of pruning need a final density between 0 and 1, not {self.density:g}; choose a lower density"
            )
        if not 0 < self.prune < 1:
            raise SzilardError(
                f"prune is the fraction of the remaining weights that a level removes, between 0 and 1, not "
                f"{self.prune:g}"
            )
        if not 0 <= self.rewind < 1:
            raise SzilardError(
                f"rewind is a fraction of the steps of a phase and must be in [0, 1), not {self.rewind:g}"
            )

    @property
    def count(self) -> int:
        """Number of levels."""
        if self.one_shot:
            return 1
        # The tolerance: 0.8^8 is reached by 8 levels although its logarithm is rounded.
        return max(1, math.ceil(math.log(self.density) / math.log1p(-self.prune) - 1e-9))

    def check(self, total: int) -> None:
        """Raise unless every phase has a step.

        Raises:
            SzilardError: fewer steps than phases.
        """
        phases = self.count + 1
        if total < phases:
            raise SzilardError(
                f"density {self.density:g} with prune={self.prune:g} needs {phases} phases of training, and there are "
                f"only {total} steps; train for more epochs, or raise density or prune"
            )

    def level_at(self, step: int, total: int) -> int:
        """How many levels have ended after a step."""
        self.check(total)
        return min(step // (total // (self.count + 1)), self.count)

    def density_at(self, step: int, total: int) -> float:
        """The density after a step."""
        level = self.level_at(step, total)
        return self.density if level == self.count else (1 - self.prune) ** level

    def changes(self, step: int, total: int) -> bool:
        """Whether a level ends after this step."""
        return step > 0 and self.level_at(step, total) > self.level_at(step - 1, total)

    def rewind_step(self, total: int) -> int:
        """The step whose weights later phases start from."""
        self.check(total)
        return int(self.rewind * (total // (self.count + 1)))

    def progress(self, step: int, total: int) -> float:
        """Fraction of a phase's schedule that has passed before a step; a later phase begins at the rewind step's."""
        level, length = self.level_at(step, total), total // (self.count + 1)
        first = level * length
        steps = total - first if level == self.count else length
        begin = self.rewind_step(total) / length if level else 0.0
        return min(1.0, begin + (1 - begin) * (step - first) / steps)
