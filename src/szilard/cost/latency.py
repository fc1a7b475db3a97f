"""Latency: seconds per call of a function, measured beside a reference loop, and refused on a noisy machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from szilard.cost import clock as clocks
from szilard.cost import machine_noise
from szilard.cost.clock import Clock
from szilard.cost.interleave import TURN, Summary, Timed, Turn, rounds
from szilard.cost.machine_noise import SHARE, SPREAD, MachineNoise
from szilard.errors import SzilardError

_SHORT = 5e-5  # seconds of a reading: the clock's own 0.1 µs is then 0.2 %
_LEAST_CALLS = 3  # of a warm-up: the first allocates, the second can still compile or choose an algorithm
_MOST_ROUNDS = 1000


@dataclass(frozen=True)
class Latency:
    """Wall-clock seconds per call of a function.

    Attributes:
        median, p10, p90: over all readings.
        readings: number of readings.
        calls_per_reading: 1, or the number of consecutive calls of which a reading is the mean: calls of a few
            microseconds are too short for the clock.
        threads: number of torch threads.
        noise: how much other programs disturbed the measurement.
    """

    median: float
    p10: float
    p90: float
    readings: int
    calls_per_reading: int
    threads: int
    noise: MachineNoise


def latency(
    run: Callable[[], object],
    *,
    threads: int | None = None,
    budget: float = 2.0,
    least_rounds: int = 10,
    warm_up: float = 0.1,
    turn: float = TURN,
    spread: float = SPREAD,
    share: float = SHARE,
    waits: bool = False,
    noisy: bool = False,
    clock: Clock | None = None,
    reference: Callable[[], object] | None = None,
) -> Latency:
    """Seconds per call of one function; see :func:`latencies` for the arguments.

    Raises:
        SzilardError: as :func:`latencies`.
    """
    found = latencies(
        {"it": run}, threads=threads, budget=budget, least_rounds=least_rounds, warm_up=warm_up, turn=turn,
        spread=spread, share=share, waits=waits, noisy=noisy, clock=clock, reference=reference,
    )  # fmt: skip
    return found["it"]


def latencies(
    runs: Mapping[str, Callable[[], object]],
    *,
    threads: int | None = None,
    budget: float = 2.0,
    least_rounds: int = 10,
    warm_up: float = 0.1,
    turn: float = TURN,
    spread: float = SPREAD,
    share: float = SHARE,
    waits: bool = False,
    noisy: bool = False,
    clock: Clock | None = None,
    reference: Callable[[], object] | None = None,
) -> dict[str, Latency]:
    """Seconds per call of several functions, which take turns, so that all meet the same disturbances.

    Every round is a turn of a reference loop of fixed work and a turn of each function. Caches are warm: each turn
    starts with one untimed call.

    Args:
        runs: the functions, by name. Each returns when its work is done; a function that starts work on another device
            must wait for it.
        threads: number of torch threads during the measurement; None leaves it. It is restored afterwards.
        budget: seconds of all rounds together.
        least_rounds: number of rounds that are made even if they take longer than the budget.
        warm_up: seconds for which each function runs untimed at first, and at least three times.
        turn: seconds that a turn lasts at least.
        spread: largest accepted variation of the reference loop, p90 / p10 of its mean times in the rounds.
        share: least accepted number of processor seconds per wall-clock second.
        waits: the functions wait for something else than the processor (a GPU, another process, a file), so that only
            the reference loop shows whether this process had the processor.
        noisy: return figures of a noisy machine, too; :attr:`Latency.noise` says why they are not to be trusted.
        clock: read instead of the machine's.
        reference: called instead of :func:`szilard.cost.machine_noise.reference_loop`.

    Returns:
        the latency of each function, by name.

    Raises:
        SzilardError: the machine is too noisy now, there is no function, or an argument is out of its range.
    """
    _check(runs, threads, budget, least_rounds, turn)
    clock = clock or clocks.CLOCK
    with pinned_threads(threads) as pinned:
        everything = [reference or machine_noise.reference_loop(), *runs.values()]
        calls = [_warm_up(run, warm_up, clock) for run in everything]
        turns = rounds(
            {
                str(number): Timed(_repeated(run, count), count)
                for number, (run, count) in enumerate(zip(everything, calls, strict=True))
            },
            budget=budget, least_rounds=least_rounds, most_rounds=max(_MOST_ROUNDS, least_rounds), turn=turn,
            warmed_up=True, clock=clock,
        )  # fmt: skip
    of_reference, *of_runs = turns.values()
    named = dict(zip(runs, zip(of_runs, calls[1:], strict=True), strict=True))
    return judged(of_reference, named, threads=pinned, spread=spread, share=share, waits=waits, noisy=noisy)


def judged(
    of_reference: Sequence[Turn],
    of_runs: Mapping[str, tuple[Sequence[Turn], int]],
    *,
    threads: int,
    spread: float = SPREAD,
    share: float = SHARE,
    waits: bool = False,
    noisy: bool = False,
    where: str = "the machine",
) -> dict[str, Latency]:
    """The latency of functions from their turns, and those of a reference loop, on this or another machine.

    Args:
        of_reference: turns of the loop.
        of_runs: by name, the turns of each function, and the number of calls in a reading.
        threads: number of threads.
        spread, share, waits, noisy: as in :func:`latencies`.
        where: what was measured on, for the message.

    Raises:
        SzilardError: the machine was too noisy.
    """
    measured = () if waits else [turns for turns, _ in of_runs.values()]
    noise = machine_noise.judge(of_reference, measured, spread=spread, share=share)
    if not (noise.quiet or noisy):
        raise SzilardError(
            f"{where} is too noisy to measure latency now: {noise.text}; stop other programs and measure again, or "
            "use noisy=True for figures that are labelled as noisy"
        )
    found = {}
    for name, (turns, count) in of_runs.items():
        readings = [reading for one in turns for reading in one.readings]
        summary = Summary.of(readings)
        found[name] = Latency(summary.median, summary.p10, summary.p90, len(readings), count, threads, noise)
    return found


def calls_per_reading(seconds: float) -> int:
    """The number of calls of a function of so many seconds of which one reading is the mean."""
    return 1 if seconds >= _SHORT else math.ceil(_SHORT / max(seconds, 1e-7))


@contextmanager
def pinned_threads(threads: int | None) -> Iterator[int]:
    """That number of torch threads inside the block, and the former one afterwards; None changes nothing."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _warm_up(run: Callable[[], object], seconds: float, clock: Clock) -> int:
    """Run a function untimed; the number of calls that one reading should have."""
    began = clock.wall()
    fastest, count = math.inf, 0
    while True:
        before = clock.wall()
        run()
        after = clock.wall()
        fastest, count = min(fastest, after - before), count + 1
        if count >= _LEAST_CALLS and after - began >= seconds:
            break
    return calls_per_reading(fastest)


def _repeated(run: Callable[[], object], calls: int) -> Callable[[], object]:
    if calls == 1:
        return run

    def several() -> None:
        for _ in range(calls):
            run()

    return several


def _check(
    runs: Mapping[str, Callable[[], object]],
    threads: int | None,
    budget: float,
    least_rounds: int,
    turn: float,
) -> None:
    if not runs:
        raise SzilardError("there is no function to measure; give at least one")
    if threads is not None and threads < 1:
        raise SzilardError(f"threads must be at least 1, not {threads}")
    if least_rounds < 2:
        raise SzilardError(f"least_rounds must be at least 2, to see how much times vary, not {least_rounds}")
    if not budget >= 0 or not turn >= 0:
        raise SzilardError(
            f"budget and turn are seconds and not negative, and here they are {budget} and {turn}"
        )
