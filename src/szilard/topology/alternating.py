"""Training that alternates between a dense and a sparse network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Alternating:
    """Phases of training: dense, then sparse and dense in turn, and sparse at the end (Peste et al. 2021).

    The first phase is dense and the last one sparse; the ``2 * cycles`` phases between them, sparse and dense in turn,
    have the same length to the nearest step.

    Args:
        cycles: sparse phases before the last one, each with a dense phase behind it.
        first: length of the first, dense phase, as a fraction of all steps, in (0, 1).
        final: length of the last, sparse phase, likewise.

    Raises:
        SzilardError: an argument out of its range.
    """

    cycles: int = 6
    first: float = 0.1
    final: float = 0.3

    def __post_init__(self) -> None:
        if self.cycles < 1:
            raise SzilardError(f"cycles of sparse and dense phases must be at least 1, not {self.cycles}")
        if not (self.first > 0 and self.final > 0 and self.first + self.final < 1):
            raise SzilardError(
                "first and final are fractions of all steps above 0, and leave some for the phases between, not "
                f"first={self.first:g} and final={self.final:g}"
            )

    def starts(self, total: int) -> list[int]:
        """The steps after which phases start: sparse ones at even places of the list, dense ones at odd places."""
        count = 2 * self.cycles
        length = (1 - self.first - self.final) / count
        return [round((self.first + number * length) * total) for number in range(count + 1)]

    def check(self, total: int) -> None:
        """Raise unless every phase has a step.

        Raises:
            SzilardError: too few steps.
        """
        edges = [0, *self.starts(total), total]
        if any(after <= before for before, after in pairwise(edges)):
            raise SzilardError(
                f"{total} steps are too few for {len(edges) - 1} phases of alternating training with "
                f"cycles={self.cycles}, first={self.first:g} and final={self.final:g}; train for more epochs, or lower "
                "cycles"
            )

    def is_sparse(self, step: int, total: int) -> bool:
        """Whether the network is sparse after a step, in the phase that the next step belongs to."""
        return sum(start <= step for start in self.starts(total)) % 2 == 1

    def changes(self, step: int, total: int) -> bool:
        """Whether another phase starts after this step."""
        return step in self.starts(total)
