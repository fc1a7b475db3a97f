"""Forget everything at a change."""

from __future__ import annotations

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.rule import Broadening


class Reset(Broadening):
    """The prior for every rate below 1, as in Bayesian online change point detection."""

    name = "reset"

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__(rate)

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        gone = rates < 1
        fresh = belief.take(np.arange(len(belief)))
        fresh.mean[gone] = belief.prior.mean.reshape(-1)
        fresh.precision[gone] = belief.prior_precision()
        for name, values in fresh.extra.items():
            values[gone] = belief.start[name][0]
        return fresh
