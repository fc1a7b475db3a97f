"""Temper a belief: the mean stays and the precision shrinks."""

from __future__ import annotations

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.rule import Broadening, positive, with_fewer_observations


class Temper(Broadening):
    """P ← β P + (1 - β) · floor · P₀, with the mean kept.

    Without the floor this is q^β, as in variational beam search (Li et al. 2021). Then the precision of directions that
    no input visits goes to zero, and a single row in such a direction gives extreme predictions. With a floor it goes
    to a fraction of the prior's precision.

    Args:
        rate: β.
        floor: fraction of the prior's precision to which the precision of unvisited directions decays,
            positive.
    """

    name = "temper"

    def __init__(self, rate: float = 0.98, floor: float = 1.0) -> None:
        super().__init__(rate)
        self.floor = positive(floor, "floor")

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        beta = belief.per_hypothesis(rates)
        precision = beta * belief.precision + (1 - beta) * (self.floor * belief.prior_precision())
        return belief.changed(precision=precision, extra=with_fewer_observations(belief, rates))
