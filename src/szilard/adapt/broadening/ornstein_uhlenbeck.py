"""Drift back to the prior, the rule of an Ornstein-Uhlenbeck process."""

from __future__ import annotations

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.rule import Broadening, with_noise_towards_prior


class OrnsteinUhlenbeck(Broadening):
    """m ← m₀ + g (m - m₀) and V ← g² V + (1 - g²) V₀, with g the rate: the prior is the stationary distribution.

    Rate 0 is a reset.
    """

    name = "ornstein-uhlenbeck"

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        start = belief.prior.mean.reshape(1, -1)
        mean = start + rates[:, None] * (belief.mean - start)
        share = belief.per_hypothesis(rates**2)
        variance = share * belief.inverse(belief.precision) + (1 - share) * belief.inverse(
            belief.prior_precision()
        )
        extra = with_noise_towards_prior(belief, rates**2)
        return belief.changed(mean=mean, precision=belief.inverse(variance), extra=extra)
