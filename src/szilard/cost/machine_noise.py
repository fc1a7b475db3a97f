"""How much other programs disturb a measurement, judged by a loop of fixed work that takes turns with it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from szilard.cost.interleave import Turn

SPREAD = 1.25  #: p90 / p10 of the reference loop's times above which a machine is too noisy
SHARE = 0.9  #: processor seconds per wall-clock second below which the process lacked a processor
_SIDE = 192  # 14 million FLOPs, a fraction of a millisecond, in matrices that fit the cache


@dataclass(frozen=True)
class MachineNoise:
    """What the reference loop and the processor's clock say about one measurement.

    Attributes:
        spread: p90 / p10 over the rounds of the reference loop's mean time in a turn; 1 on a perfect machine.
        share: processor seconds of this process per wall-clock second, the least of all that was timed; at least about
            1 if the process always had a processor, and up to the number of threads.
        reasons: why the machine is too noisy, as parts of a sentence; empty if it is quiet enough.
    """

    spread: float
    share: float
    reasons: tuple[str, ...] = ()

    @property
    def quiet(self) -> bool:
        """Whether the measurement can be trusted."""
        return not self.reasons

    @property
    def text(self) -> str:
        """The reasons as one part of a sentence."""
        return " and ".join(self.reasons)


def reference_loop() -> Callable[[], object]:
    """One product of two float32 matrices ``[192, 192]``: fixed work, with the threads that torch uses at that time."""
    first, second, out = (torch.ones(_SIDE, _SIDE) for _ in range(3))

    def run() -> object:
        with torch.no_grad():
            return torch.mm(first, second, out=out)

    return run


def judge(
    reference: Sequence[Turn],
    measured: Iterable[Sequence[Turn]],
    *,
    spread: float = SPREAD,
    share: float = SHARE,
) -> MachineNoise:
    """Judge the machine by the turns of the reference loop and of what was measured between them.

    Args:
        reference: turns of the reference loop, one for each round.
        measured: turns of each measured function; empty if those wait for something else than the processor.
        spread: largest allowed p90 / p10 of the reference's mean times.
        share: least allowed number of processor seconds per wall-clock second.
    """
    times = [turn.mean for turn in reference]
    tenths = statistics.quantiles(times, n=10, method="inclusive") if len(times) > 1 else times
    varied = tenths[-1] / tenths[0]
    had = min(_share(turns) for turns in (reference, *measured))
    reasons = []
    if varied > spread:
        reasons.append(
            f"a loop of fixed work varied {varied:.3g}-fold (at most {spread:.3g}-fold is accepted)"
        )
    if had < share:
        reasons.append(
            f"the process had a processor for {100 * had:.0f} % of the time (at least {100 * share:.0f} % is needed)"
        )
    return MachineNoise(varied, had, tuple(reasons))


def _share(turns: Sequence[Turn]) -> float:
    return sum(turn.processor for turn in turns) / sum(turn.wall for turn in turns)
