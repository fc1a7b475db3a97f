"""Standard errors of a statistic of independent draws, and of a ratio of means over the same inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_GROUPS = 20


def jackknife_error(statistic: Callable[[Tensor], float], count: int, groups: int = _GROUPS) -> float:
    """Standard error by the delete-a-group jackknife (Efron and Tibshirani 1993, chapter 11).

    Args:
        statistic: of the draws whose indices it gets, ``[S']``, at least two.
        count: S, the number of independent draws.
        groups: G; each is left out once, and draw s is in group s mod G. At most S.

    Returns:
        the standard error; infinity for fewer than three draws, which have no error.
    """
    groups = min(groups, count)
    if count < 3:
        return math.inf
    numbers = torch.arange(count)
    found = torch.tensor(
        [statistic(numbers[numbers % groups != group]) for group in range(groups)], dtype=torch.float64
    )
    return float((groups - 1) ** 0.5 * found.std(correction=0))


def ratio_error(above: Tensor, below: Tensor) -> float:
    """Standard error of mean(above) / mean(below) over N independent inputs, by the delta method (Cochran 1977, 2.11).

    Args:
        above, below: a value for each input, ``[N, ...]``; further axes are averaged.

    Returns:
        the standard error; infinity for one input.
    """
    a, b = (
        values.double().flatten(1).mean(1) if values.dim() > 1 else values.double()
        for values in (above, below)
    )
    if len(a) < 2:
        return math.inf
    left = a - (a.mean() / b.mean()) * b
    return float((left.square().sum() / (len(a) - 1) / len(a)).sqrt() / b.mean())
