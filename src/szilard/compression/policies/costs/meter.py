"""Seconds of several functions that take turns; on a noisy machine a refusal after a few attempts, or a note."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from szilard.cost.clock import Clock
from szilard.cost.interleave import TURN
from szilard.cost.latency import latencies
from szilard.errors import SzilardError

Runs = Mapping[str, Callable[[], object]]
Measure = Callable[[Runs], Mapping[str, float]]
ATTEMPTS = 3  #: to measure before a noisy machine is refused


class Meter:
    """Measures functions beside each other: the median of each, in seconds per call.

    Args:
        threads: of the functions.
        noisy: on a noisy machine go on at once with the tenth percentile, which other programs hardly change, and a
            note; else it is refused after three attempts.
        brief: less than a tenth of a second for each function, for many short ones; else about two seconds for all.
        clock: read instead of the machine's.
        reference: called instead of the meter's loop of fixed work.

    Attributes:
        notes: one sentence if the machine was noisy.
    """

    def __init__(
        self,
        *,
        threads: int = 1,
        noisy: bool = False,
        brief: bool = False,
        clock: Clock | None = None,
        reference: Callable[[], object] | None = None,
    ) -> None:
        self.threads, self.noisy, self.brief = threads, noisy, brief
        self.clock, self.reference = clock, reference
        self.notes: list[str] = []

    def __call__(self, runs: Runs) -> dict[str, float]:
        """Seconds of each function, by name.

        Raises:
            SzilardError: the machine was too noisy each time.
        """
        for _ in range(0 if self.noisy else ATTEMPTS - 1):
            with contextlib.suppress(SzilardError):
                return self._once(runs)
        return self._once(runs)

    def _once(self, runs: Runs) -> dict[str, float]:
        brief = self.brief
        found = latencies(
            runs, threads=self.threads, noisy=self.noisy, clock=self.clock, reference=self.reference,
            budget=0.0 if brief else 2.0, turn=0.005 if brief else TURN, warm_up=0.01 if brief else 0.1,
        )  # fmt: skip
        noise = next(iter(found.values())).noise
        if noise.quiet:
            return {name: one.median for name, one in found.items()}
        if not self.notes:
            self.notes.append(f"latencies are of a noisy machine and not to be trusted: {noise.text}")
        return {name: one.p10 for name, one in found.items()}
