"""The goal of a compression, as typed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from szilard.compression.network_to_file import CONFIDENCE
from szilard.errors import SzilardError, printable
from szilard.likelihood import TASKS


@dataclass(frozen=True)
class Goal:
    """Limits on the loss of quality in percentage points, on the size in bytes, or λ in nats per bit.

    Attributes:
        task: of ``--task``, or None.
        confidence: with which ``max_drop`` holds on other examples; 0: on the validation split alone.
    """

    max_drop: float | None
    max_bytes: int | None
    lam: float | None
    task: str | None = None
    confidence: float = CONFIDENCE

    @classmethod
    def typed(
        cls,
        max_drop: float | None,
        max_bytes: int | None,
        lam: float | None,
        task: str | None,
        confidence: float | None,
    ) -> Goal:
        """From the options; None where one was not typed.

        Raises:
            SzilardError: as :meth:`check`.
        """
        goal = cls(max_drop, max_bytes, lam, task, CONFIDENCE if confidence is None else confidence)
        goal.check()
        return goal

    def check(self) -> None:
        """Raise where a value is out of range, or two goals contradict each other.

        Raises:
            SzilardError: one sentence on the first of them.
        """
        if self.confidence != 0 and not 0.5 <= self.confidence < 1:
            raise SzilardError(f"--confidence must be 0 or lie between 0.5 and 1, and is {self.confidence:g}")
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise SzilardError(
                f"--max-drop is in percentage points, from 0 to 100, and not {self.max_drop:g}; give for instance 0.5"
            )
        if self.max_bytes is not None and self.max_bytes < 1:
            raise SzilardError(f"--max-bytes must be a positive number of bytes, not {self.max_bytes}")
        if self.lam is not None and not (self.lam > 0 and math.isfinite(self.lam)):
            raise SzilardError(f"--lam must be a positive number of nats per bit, not {self.lam:g}")
        if self.task is not None and self.task not in TASKS:
            raise SzilardError(f"--task is {printable(self.task)}; take one of {', '.join(TASKS)}")
        if sum(one is not None for one in (self.max_drop, self.max_bytes, self.lam)) > 1:
            raise SzilardError("give one of --max-drop, --max-bytes and --lam; the others follow from it")


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """``--input-shape`` as numbers.

    Raises:
        SzilardError: it is not of the form ``3x32x32``.
    """
    if text is None:
        return None
    try:
        return tuple(int(side) for side in text.split("x"))
    except ValueError:
        raise SzilardError(f"--input-shape is {text!r}; write it like 3x32x32") from None
