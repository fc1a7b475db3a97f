"""Forget only in the direction of the next input."""

from __future__ import annotations

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.rule import Broadening, positive, with_fewer_observations


class Directional(Broadening):
    """P ← P - (1 - β) P H' (H P H')⁻¹ H P: only what the next input can replace is forgotten (Cao and Schwartz 2000).

    Directions that no input visits keep their precision, so that nothing winds up. The forgotten part is replaced by
    the same part of ``floor`` times the prior's precision.

    Args:
        rate: β.
        floor: fraction of the prior's precision that is kept in the direction of the input.
    """

    name = "directional"
    needs_input = True

    def __init__(self, rate: float = 0.98, floor: float = 1.0) -> None:
        super().__init__(rate)
        self.floor = positive(floor, "floor")

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        if x is None or not x.any():
            return belief
        beta = belief.per_hypothesis(rates)
        kept = self.floor * belief.along(x, belief.prior_precision())
        precision = belief.precision - (1 - beta) * (belief.along(x, belief.precision) - kept)
        return belief.changed(precision=precision, extra=with_fewer_observations(belief, rates))
