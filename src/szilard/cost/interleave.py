"""Comparing times on a machine with varying load: functions alternate for many rounds; medians are compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from szilard.cost import clock as clocks
from szilard.cost.clock import Clock

TURN = 0.02  # minimum seconds of a turn; several short steps are timed together
LONG = 0.1  # seconds; for a step longer than this, cold caches at its start do not matter


@dataclass(frozen=True)
class Turn:
    """Times of one turn.

    Attributes:
        readings: wall-clock seconds per step of each run in the turn.
        wall: seconds of all these runs together.
        processor: processor seconds of the process in that time, summed over its threads.
        steps: number of steps of all these runs together.
    """

    readings: tuple[float, ...]
    wall: float
    processor: float
    steps: int

    @property
    def mean(self) -> float:
        """Wall-clock seconds per step."""
        return self.wall / self.steps


class Timer(Protocol):
    """Times a function for a turn: here (:class:`Timed`), or by the clocks of another machine."""

    def turn(self, least: float, warm: bool = True, clock: Clock | None = None) -> Turn:
        """Run for at least ``least`` seconds, and at least once."""
        ...


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

    def turn(self, least: float, warm: bool = True, clock: Clock | None = None) -> Turn:
        """Run for at least ``least`` seconds, and at least once."""
        clock = clock or clocks.CLOCK
        if self.warm and warm:
            self.run()
        processor, marks = clock.processor(), [clock.wall()]
        while True:
            self.run()
            marks.append(clock.wall())
            if (wall := marks[-1] - marks[0]) >= least:
                break
        processor = clock.processor() - processor
        readings = tuple((after - before) / self.steps for before, after in pairwise(marks))
        return Turn(readings, wall, processor, len(readings) * self.steps)


@dataclass(frozen=True)
class Summary:
    """Seconds per step over the rounds.

    Attributes:
        median: of the rounds.
        low, high: first and third quartile.
        rounds: their number.
        p10, p90: tenth and ninetieth percentile.
    """

    median: float
    low: float
    high: float
    rounds: int
    p10: float
    p90: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Summary:
        """Of the times of some rounds, with linear interpolation between the sorted times."""
        if len(seconds) == 1:
            only = seconds[0]
            return cls(only, only, only, 1, only, only)
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        tenths = statistics.quantiles(seconds, n=10, method="inclusive")
        return cls(median, low, high, len(seconds), tenths[0], tenths[-1])


def interleave(
    contestants: Mapping[str, Timer],
    *,
    budget: float,
    least_rounds: int = 3,
    most_rounds: int = 101,
    turn: float = TURN,
    warmed_up: bool = False,
    clock: Clock | None = None,
) -> dict[str, Summary]:
    """Time every contestant once in each round, so that varying load of the machine affects all of them equally.

    The first round is not counted (allocators and libraries warm up) unless all are ``warmed_up``. Rounds continue
    for ``budget`` seconds, but at least ``least_rounds`` and at most ``most_rounds`` are counted.

    Args:
        contestants: what to time, by name.
        budget: seconds.
        turn: seconds that a turn lasts at least.
        clock: read instead of the machine's.
    """
    found = rounds(
        contestants, budget=budget, least_rounds=least_rounds, most_rounds=most_rounds, turn=turn,
        warmed_up=warmed_up, clock=clock,
    )  # fmt: skip
    return {name: Summary.of([one.mean for one in turns]) for name, turns in found.items()}


def rounds(
    contestants: Mapping[str, Timer],
    *,
    budget: float,
    least_rounds: int = 3,
    most_rounds: int = 101,
    turn: float = TURN,
    warmed_up: bool = False,
    clock: Clock | None = None,
) -> dict[str, list[Turn]]:
    """The turns of :func:`interleave`, which has the same arguments: a list by name, one turn for each round."""
    clock = clock or clocks.CLOCK
    turns: dict[str, list[Turn]] = {name: [] for name in contestants}
    last = dict.fromkeys(contestants, 0.0)
    started = clock.wall()
    for number in range(int(warmed_up), most_rounds + 1):
        if number > least_rounds and clock.wall() - started > budget:
            break
        for name, timed in contestants.items():
            spent = timed.turn(turn if number else 0.0, warm=last[name] < LONG, clock=clock)
            last[name] = spent.mean
            if number:
                turns[name].append(spent)
    return turns
