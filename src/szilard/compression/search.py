"""Find λ for what a user asks for: a drop that must not be exceeded, or a size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")

FARTHEST = 24.0  # octaves from the start


@dataclass(frozen=True, eq=False)
class Trial(Generic[Result]):
    """One λ that was tried.

    Attributes:
        excess: how far beyond what is allowed, in whatever unit; at most 0 is allowed.
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
    """Trials of λ, of which the largest with no excess is the answer; from ``start`` on.

    The excess grows with λ but for noise. Steps double until it changes sign; then regula falsi on (log λ, excess),
    kept away from the ends of the bracket.

    Args:
        attempt: excess and result of a λ.
        trials: at most so many.
        tolerance: octaves; a bracket this small is not divided further.
    """
    found: list[Trial[Result]] = []

    def at(octave: float) -> Trial[Result]:
        lam = start * 2.0**octave
        found.append(Trial(lam, *attempt(lam)))
        return found[-1]

    place, step = 0.0, 1.0
    low: tuple[float, float] | None = None  # octave and excess of the largest λ that is allowed
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
    """The largest λ without excess, or None."""
    allowed = [t for t in trials if t.excess <= 0 and math.isfinite(t.excess)]
    return max(allowed, key=lambda t: t.lam, default=None)
