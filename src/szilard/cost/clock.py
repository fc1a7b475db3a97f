"""The clock of all measured times, which tests replace."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings in seconds; only differences have a meaning."""

    def wall(self) -> float:
        """Seconds of a clock that never goes back."""
        ...

    def processor(self) -> float:
        """Processor seconds of this process so far, in user and system mode, summed over its threads."""
        ...


class MachineClock:
    """The clocks of this machine, :func:`time.perf_counter` and :func:`time.process_time`."""

    def wall(self) -> float:
        return time.perf_counter()

    def processor(self) -> float:
        return time.process_time()


CLOCK: Clock = MachineClock()  # what functions read that are given no clock
