"""The phases of a run that collects several sparse networks: one of exploration, then one for each network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from szilard.errors import SzilardError
from szilard.topology.schedule import Schedule


@dataclass(frozen=True)
class Refinements(Schedule):
    """A phase of exploration and then phases of refinement of equal length (Liu et al. 2021, arXiv:2106.14568).

    In each phase supports move every ``every`` steps, counted from the start of the run. In a phase of refinement the
    fraction falls from ``fraction`` to ``last`` along half a cosine, up to ``end`` of the phase. After the last step of
    each refinement, except the last one, a fraction ``escape`` of the entries is replaced at once.

    Args:
        every: steps between two moves.
        fraction: of the entries that a move of the exploration and the first move of a refinement replace.
        end: fraction of a refinement after which its support does not change.
        last: fraction of the entries that the last move of a refinement replaces.
        members: number of refinements.
        exploration: length of the exploration, as a fraction of all steps, in [0, 1).
        escape: fraction of the entries that are replaced between two refinements.

    Raises:
        SzilardError: an argument out of its range.
    """

    members: int = 3
    exploration: float = 1 / 3
    escape: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.members < 1:
            raise SzilardError(f"members must be at least 1, not {self.members}")
        if not 0 <= self.exploration < 1:
            raise SzilardError(
                f"exploration is a fraction of all steps and must be in [0, 1), not {self.exploration:g}"
            )
        if not 0 <= self.escape <= 1:
            raise SzilardError(
                f"escape is the fraction of the entries that are replaced between two refinements and must be in "
                f"[0, 1], not {self.escape:g}"
            )

    def starts(self, total: int) -> list[int]:
        """The steps after which refinements start, and the last step, at which the last one ends."""
        rest = 1 - self.exploration
        return [
            round((self.exploration + rest * number / self.members) * total)
            for number in range(self.members + 1)
        ]

    def check(self, total: int) -> None:
        """Raise unless every phase has a step.

        Raises:
            SzilardError: too few steps.
        """
        if any(after <= before for before, after in pairwise(self.starts(total))):
            raise SzilardError(
                f"{total} steps are too few for {self.members} refinements after an exploration of "
                f"{self.exploration:g} of them; train for more epochs, or lower members"
            )

    def ends(self, step: int, total: int) -> bool:
        """Whether a refinement ends after this step."""
        return step in self.starts(total)[1:]

    def progress(self, step: int, total: int) -> float | None:
        """The fraction of a refinement that has passed after a step; None in the exploration."""
        starts = self.starts(total)
        if step < starts[0]:
            return None
        begin, end = next((pair for pair in pairwise(starts) if step < pair[1]), (starts[-2], starts[-1]))
        return min(1.0, (step - begin) / (end - begin))

    def fraction_at(self, step: int, total: int) -> float:
        if step <= 0 or step >= total:
            return 0.0
        if self.ends(step, total):
            return self.escape
        if step % self.every:
            return 0.0
        done = self.progress(step, total)
        if done is None:
            return self.fraction
        if done >= self.end:
            return 0.0
        return self.last + (self.fraction - self.last) / 2 * (1 + math.cos(math.pi * done / self.end))

    def collects(self, step: int, total: int, batches: int) -> bool:
        return any(self.fraction_at(step + 1 + ahead, total) > 0 for ahead in range(batches))
