"""What is typed of a compression's goal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from szilard.compression.network_to_file import CONFIDENCE
from szilard.errors import SzilardError, printable
from szilard.likelihood import TASKS


@dataclass(frozen=True)
class Wish:
    """What is typed of the goal: percentage points, bytes, nats per bit."""

    max_drop: float | None
    max_bytes: int | None
    lam: float | None
    task: str | None = None
    confidence: float = CONFIDENCE

    def check(self) -> None:
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


@dataclass(frozen=True)
class Shape:
    """What is typed of a network whose data nobody has."""

    inputs: str | None
    outputs: int | None

    def parsed(self) -> tuple[int, ...] | None:
        if self.inputs is None:
            return None
        try:
            return tuple(int(side) for side in self.inputs.split("x"))
        except ValueError:
            raise SzilardError(f"--input-shape is {self.inputs!r}; write it like 3x32x32") from None
