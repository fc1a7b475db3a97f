"""HyperLISTA without momentum or without selection: its other two numbers are searched for again."""

from __future__ import annotations

import math

import torch

from solving.problems import Problem
from szilard.solve import HyperLISTA
from szilard.solve.samples import batch_error_db

Numbers = tuple[float, float, float]
#: What is left out, and the place of its number.
WITHOUT = {"without momentum": 1, "without selection": 2}
_CANDIDATES, _SPREAD = 120, 0.5  # log-normal steps around the best so far


def searched(problem: Problem, start: Numbers, place: int, layers: int, seed: int) -> Numbers:
    """Numbers of which one is zero; the others are the best of a random search on a problem.

    The error that is minimised is that of summed squares after all layers.

    Args:
        problem: on which candidates are judged.
        start: where the search begins, with all three numbers.
        place: of the number that is zero.
        layers: of a call.
        seed: of the search.
    """
    generator = torch.Generator().manual_seed(seed)

    def with_zero(values: list[float]) -> Numbers:
        first, second, third = (0.0 if index == place else value for index, value in enumerate(values))
        return first, second, third

    def error(numbers: Numbers) -> float:
        found = batch_error_db(HyperLISTA(problem.A, layers, numbers)(problem.b).x, problem.x)
        return found if math.isfinite(found) else math.inf

    best = with_zero(list(start))
    least = error(best)
    for _ in range(_CANDIDATES):
        steps = (_SPREAD * torch.randn(3, generator=generator)).exp().tolist()
        candidate = with_zero([value * step for value, step in zip(best, steps, strict=True)])
        found = error(candidate)
        if found < least:
            best, least = candidate, found
    return best
