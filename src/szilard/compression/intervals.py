"""Upper ends of one-sided confidence intervals, for normal means and for counts."""

from __future__ import annotations

import math
from statistics import NormalDist

from torch import Tensor


def quantile(confidence: float) -> float:
    """Quantile of a normal distribution, in standard deviations; 0 up to a confidence of one half."""
    return NormalDist().inv_cdf(confidence) if confidence > 0.5 else 0.0


def student(z: float, count: int) -> float:
    """Student's t quantile from a normal quantile, by an expansion with an error of 1 % from 5 degrees of freedom."""
    return z + (z**3 + z) / (4 * (count - 1)) if count > 1 else z


def standard_error(values: Tensor) -> float:
    """Standard error of the mean of values ``[N]``."""
    return float(values.double().std() / math.sqrt(len(values))) if len(values) > 1 else 0.0


def counted(differences: Tensor, z: float) -> float:
    """Width of the one-sided interval for changes between right and wrong, which are few: a normal one is too narrow.

    The numbers of examples lost and won are Poisson, with limits by Gehrels (1986); their difference has the limit of
    Zou and Donner (2008). It is not zero if no example has changed.

    Args:
        differences: by example ``[N]``: above 0 if it is lost, below 0 if it is won.
        z: normal quantile.
    """
    lost, won = float((differences > 0).sum()), float((differences < 0).sum())
    more = lost + 1
    above = more * (1 - 1 / (9 * more) + z / (3 * math.sqrt(more))) ** 3 - lost
    fewer = max(0.0, 1 - 1 / (9 * won) - z / (3 * math.sqrt(won))) ** 3 if won else 0.0
    return math.hypot(above, won - won * fewer) / len(differences)
