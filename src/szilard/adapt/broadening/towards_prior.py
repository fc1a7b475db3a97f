"""Mix a belief with the prior, the rule of Bayesian forgetting."""

from __future__ import annotations

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.rule import Broadening, with_noise_towards_prior


class TowardsPrior(Broadening):
    """q^β p₀^(1-β): P ← β P + (1 - β) P₀ and P m ← β P m + (1 - β) P₀ m₀ (Kurle et al. 2020).

    Rate 0 is a reset. The mean is pulled to the prior's, too.
    """

    name = "towards-prior"

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        beta, prior = belief.per_hypothesis(rates), belief.prior
        precision = beta * belief.precision + (1 - beta) * belief.prior_precision()
        pull = (prior.precision * prior.mean).reshape(1, -1)
        information = rates[:, None] * belief.times(belief.mean) + (1 - rates[:, None]) * pull
        mean = belief.solve(precision, information)
        return belief.changed(mean=mean, precision=precision, extra=with_noise_towards_prior(belief, rates))
