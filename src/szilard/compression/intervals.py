"""Upper ends of one-sided intervals, of normal means and of counts."""

from __future__ import annotations

import math
from statistics import NormalDist

from torch import Tensor


def quantile(confidence: float) -> float:
    """Of a normal distribution, in deviations; 0 up to one half."""
    return NormalDist().inv_cdf(confidence) if confidence > 0.5 else 0.0


def student(z: float, count: int) -> float:
    """Student's quantile for a normal one; the expansion is right to 1 % from 5 degrees of freedom on."""
    return z + (z**3 + z) / (4 * (count - 1)) if count > 1 else z


def standard_error(values: Tensor) -> float:
    """Of the mean of values ``[N]``."""
    return float(values.double().std() / math.sqrt(len(values))) if len(values) > 1 else 0.0


def counted(differences: Tensor, z: float) -> float:
    """Half an interval of right and wrong answers, which are few, so that a normal one would be too narrow.

    The numbers of examples lost and won are Poisson, with limits by Gehrels (1986); their difference has the limit of
    Zou and Donner (2008). It is not zero where no answer has changed.

    Args:
        differences: of each example ``[N]``, above 0 where it is lost and below where it is won.
    """
    lost, won = float((differences > 0).sum()), float((differences < 0).sum())
    more = lost + 1
    above = more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3 - lost
    fewer = max(0.0, 1 - 1 / (9 * won) - z / (3 * math.sqrt(won))) ** 3 if won else 0.0
    return math.hypot(above, won - won * fewer) / len(differences)
