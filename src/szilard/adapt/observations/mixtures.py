"""Mean, variance and quantiles of mixtures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEPS = 60  # of bisection: 2^-60 of the first bracket


def moments(weights: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Mean and variance of a mixture, ``[2]``, from those of its K parts."""
    center = float(weights @ mean)
    return np.array([center, float(weights @ (variance + (mean - center) ** 2))])


def quantile(
    weights: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    cdf: Callable[[np.ndarray], np.ndarray],
    level: float,
) -> float:
    """The value below which a mixture has the probability ``level``.

    Args:
        weights: of the K parts.
        center: of each part.
        scale: of each part.
        cdf: distribution functions of the parts at K values, in units of their scales and from their centers.
        level: between 0 and 1, exclusive.
    """

    def below(value: float) -> float:
        return float(weights @ cdf((value - center) / scale))

    low, high = float((center - scale).min()), float((center + scale).max())
    width = high - low
    while below(low) > level:
        low, width = low - width, 2 * width
    while below(high) < level:
        high, width = high + width, 2 * width
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if below(middle) < level else (low, middle)
    return 0.5 * (low + high)
