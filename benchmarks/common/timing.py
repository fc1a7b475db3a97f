"""Comparing times on a machine with varying load: contestants alternate for many rounds; medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TURN = 0.02  # minimum seconds of a turn; several short steps are timed together
LONG = 0.1  # seconds; for a step longer than this, cold caches at its start do not matter


@dataclass(frozen=True)
class Timed:
    """A function to time.

    Attributes:
        run: the function.
        steps: number of steps in one ``run``; times are per step.
        warm: run once without timing at the start of each turn, because other contestants have evicted the caches
            (unless a step is longer than :data:`LONG`).
    """

    run: Callable[[], object]
    steps: int = 1
    warm: bool = True

    def turn(self, least: float, warm: bool = True) -> float:
        """Mean seconds per step over at least ``least`` seconds."""
        if self.warm and warm:
            self.run()
        count, started = 0, time.perf_counter()
        while True:
            self.run()
            count += self.steps
            if (elapsed := time.perf_counter() - started) >= least:
                return elapsed / count


@dataclass(frozen=True)
class Summary:
    """Seconds per step over the rounds."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> Summary:
        low, median, high = (
            statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
        )
        return cls(median, low, high, len(seconds))


def interleave(
    contestants: Mapping[str, Timed],
    *,
    budget: float,
    least_rounds: int = 3,
    most_rounds: int = 101,
    turn: float = TURN,
    warmed_up: bool = False,
) -> dict[str, Summary]:
    """Time every contestant once in each round, so that varying load of the machine affects all of them equally.

    The first round is not counted (allocators and libraries warm up) unless all are ``warmed_up``. Rounds continue for
    ``budget`` seconds, but at least ``least_rounds`` and at most ``most_rounds`` are counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    last = dict.fromkeys(contestants, 0.0)
    started = time.perf_counter()
    for number in range(int(warmed_up), most_rounds + 1):
        if number > least_rounds and time.perf_counter() - started > budget:
            break
        for name, timed in contestants.items():
            spent = timed.turn(turn if number else 0.0, warm=last[name] < LONG)
            last[name] = spent
            if number:
                seconds[name].append(spent)
    return {name: Summary.of(found) for name, found in seconds.items()}
