"""Add a variance, the rule of a random walk of the weights."""

from __future__ import annotations

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.rule import Broadening, positive


class Additive(Broadening):
    """V ← V + (1 - rate) · variance · V₀: weights walk at random between rows, as in a Kalman filter.

    Args:
        rate: scales the variance.
        variance: in units of the prior's variance.
    """

    name = "additive"

    def __init__(self, rate: float = 0.98, variance: float = 1.0) -> None:
        super().__init__(rate)
        self.variance = positive(variance, "variance")

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        walk = (1 - belief.per_hypothesis(rates)) * self.variance
        precision = belief.inverse(
            belief.inverse(belief.precision) + walk * belief.inverse(belief.prior_precision())
        )
        return belief.changed(precision=precision)
