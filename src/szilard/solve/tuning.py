"""A search for positive numbers without derivatives: samples around a start, then smaller and smaller steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardError

Numbers = tuple[float, ...]

_WIDTH = 4.0  # the first samples lie between 1 / this and this, times the start
_FIRST_STEP, _LAST_STEP = 0.5, 0.1  # standard deviations of logarithms
_SHARE = 0.4  # of the evaluations that sample
_JUDGED = 8  # best candidates that are judged again on other samples


class Found(NamedTuple):
    """What a search found."""

    numbers: Numbers
    score: float  # the lowest
    evaluations: int


def search(
    score: Callable[[Numbers], float],
    judge: Callable[[Numbers], float],
    start: Numbers,
    evaluations: int,
    seed: int,
) -> Found:
    """The numbers of the lowest score. The same seed gives the same answer.

    Args:
        score: a number to be made small; one that is not finite is worse than all others.
        judge: the same on other, more samples; it decides between the best few and the start.
        start: positive numbers.
        evaluations: how often ``score`` is called.
        seed: of the search.

    Raises:
        SzilardError: if there are no evaluations, or no score is finite.
    """
    if evaluations < 1:
        raise SzilardError(f"evaluations={evaluations}; give at least 1")
    generator = torch.Generator().manual_seed(seed)
    centre = torch.tensor(start, dtype=torch.float64).log()
    tried = [(_finite(score(start)), start)]
    around = int(_SHARE * evaluations)
    for index in range(1, evaluations):
        if index <= around:
            draw = 2 * torch.rand(len(start), generator=generator, dtype=torch.float64) - 1
            numbers = _numbers(centre + draw * torch.tensor(_WIDTH, dtype=torch.float64).log())
        else:
            done = (index - around) / max(evaluations - around, 1)
            step = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** done
            draw = torch.randn(len(start), generator=generator, dtype=torch.float64)
            numbers = _numbers(torch.tensor(min(tried)[1], dtype=torch.float64).log() + step * draw)
        tried.append((_finite(score(numbers)), numbers))
    finalists = [numbers for _, numbers in sorted(tried)[:_JUDGED]]
    judged = min((_finite(judge(numbers)), numbers) for numbers in dict.fromkeys([*finalists, start]))
    if judged[0] == float("inf"):
        raise SzilardError("no numbers gave a finite error; check that the columns of A are of similar size")
    return Found(judged[1], judged[0], evaluations)


def _numbers(logarithms: Tensor) -> Numbers:
    return tuple(logarithms.exp().tolist())


def _finite(value: float) -> float:
    return value if abs(value) < float("inf") else float("inf")
