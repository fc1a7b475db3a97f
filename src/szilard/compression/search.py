"""Search for the λ that reaches a goal: a largest drop, or a size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")

FARTHEST = 24.0  # largest distance from the start, in octaves


@dataclass(frozen=True, eq=False)
class Trial(Generic[Result]):
    """One λ that was tried.

    Attributes:
        excess: how far the limit is exceeded, in any unit; at most 0 is allowed.
    """

    lam: float
    excess: float
    result: Result


def largest_allowed(
    attempt: Callable[[float], tuple[float, Result]],
    *,
    start: float,
    trials: int = 8,
    tolerance: float = 0.08,
) -> list[Trial[Result]]:
    """Trials of λ from ``start`` on; the largest λ without excess is the solution (:func:`best`).

    The excess grows with λ, apart from noise. Steps double until it changes sign; then regula falsi on (log λ, excess)
    follows, kept away from the ends of the bracket.

    Args:
        attempt: returns excess and result of a λ.
        start: the first λ.
        trials: most trials.
        tolerance: octaves; a bracket this small is not divided further.
    """
    found: list[Trial[Result]] = []

    def at(octave: float) -> Trial[Result]:
        lam = start * 2.0**octave
        found.append(Trial(lam, *attempt(lam)))
        return found[-1]

    place, step = 0.0, 1.0
    low: tuple[float, float] | None = None  # octave and excess of the largest allowed λ
    high: tuple[float, float] | None = None
    while len(found) < trials:
        excess = at(place).excess
        if excess <= 0:
            low = max(low or (place, excess), (place, excess))
        else:
            high = min(high or (place, excess), (place, excess))
        if low is not None and high is not None:
            if high[0] - low[0] <= tolerance:
                break
            share = -low[1] / (high[1] - low[1]) if high[1] > low[1] else 0.5
            place = low[0] + (high[0] - low[0]) * min(0.8, max(0.2, share))
        else:
            if abs(place) == FARTHEST:
                break
            place, step = place + (step if excess <= 0 else -step), 2 * step
            place = min(FARTHEST, max(-FARTHEST, place))
    return found


def best(trials: list[Trial[Result]]) -> Trial[Result] | None:
    """The trial with the largest λ without excess, or None."""
    allowed = [t for t in trials if t.excess <= 0 and math.isfinite(t.excess)]
    return max(allowed, key=lambda t: t.lam, default=None)
