"""Moves in the first steps of a run only, as if the run were so long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from szilard.topology.schedule import Schedule


@dataclass(frozen=True)
class FirstSteps(Schedule):
    """A schedule over the first steps of a run.

    Args:
        every, fraction, end, last: as of a :class:`Schedule` of a run that is as long as these steps.
        length: number of these steps, from that of all; by default all.
    """

    length: Callable[[int], int] = lambda total: total

    def fraction_at(self, step: int, total: int) -> float:
        return super().fraction_at(step, self.length(total))
