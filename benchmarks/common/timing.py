"""Comparing times on a machine that is not quiet: all in turn, many rounds, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

TURN = 0.02  # a turn lasts at least so long, seconds: short steps are timed several at a time
LONG = 0.1  # seconds of a step that lasts so long that cold caches at its start do not matter


@dataclass(frozen=True)
class Timed:
    """Something to time.

    Attributes:
        run: does it.
        steps: how many steps one ``run`` is; times are per step.
        warm: run once untimed at the start of each turn, so that nobody pays for the caches the others emptied
            (unless a step is :data:`LONG`).
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
    """Give everybody a turn, round after round, so that whatever else the machine does befalls all alike.

    The first round is not counted (allocators and libraries warm up) unless all are ``warmed_up``. Rounds go on
    for ``budget`` seconds, but at least ``least_rounds`` and at most ``most_rounds`` are counted.
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
