"""The temperature of F = KL + T·cost at which the best policy meets the target, and the best trial.

Each trial is a point (cost c, KL k). The trials of lowest F = k + T c, for T from 0 to infinity, are the corners of the
lower convex hull of these points, from the lowest KL to the lowest cost; two neighbours a and b, b cheaper, have the
same F at

    T = (k_b - k_a) / (c_a - c_b)

the slope of the edge between them. So the smallest T whose best trial costs at most the target is the slope of the edge
that crosses the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from szilard.compression.policies.problem import Trial
from szilard.errors import SzilardError


def temperature(trials: Sequence[Trial], target: float) -> float:
    """The smallest T for which the trial of lowest F = KL + T·cost costs at most the target.

    At this T the trial just above the target has the same F, and any larger T prefers the one below it. Predicted
    costs count, so that a search does not depend on which trials were measured. Trials whose KL is not finite do not
    count.

    Args:
        trials: with at least one above the target, or T is 0: a search whose trials all meet the target adds the
            original network, which has KL 0 and cost 1.
        target: largest cost, as a share of the original network's.

    Returns:
        T, nats per cost of the original network; 0 if a trial of the lowest KL meets the target, infinity if none does.
    """
    points = [(trial.cost, trial.kl) for trial in trials if math.isfinite(trial.kl)]
    under = [point for point in points if point[0] <= target]
    if not under:
        return math.inf
    # The corner under the target and the corner above it: start at the trial of lowest KL, go down the hull.
    kl, cost = min((kl, cost) for cost, kl in points)
    slope = 0.0
    while cost > target:
        below = [(max(k - kl, 0.0) / (cost - c), c, k) for c, k in points if c < cost]
        slope, cost, kl = min(below)
    return slope


def cost_of(trial: Trial) -> float:
    """The measured cost of a trial, or the predicted one if it was not measured; a share of the original's."""
    return trial.cost if trial.measured is None else trial.measured


def best(trials: Sequence[Trial], target: float) -> Trial:
    """The trial of lowest KL among those that meet the target, by the measured cost where it is known.

    Of equal ones the cheapest, and of these the first.

    Raises:
        SzilardError: no trial meets the target.
    """
    under = [trial for trial in trials if cost_of(trial) <= target]
    if not under:
        lowest = min(map(cost_of, trials), default=math.inf)
        reached = f"the cheapest costs {lowest:.4g}" if trials else "there is none"
        raise SzilardError(
            f"no trial costs at most {target:g} ({reached}); give a larger target, or search longer"
        )
    return min(under, key=lambda trial: (_rank(trial.kl), cost_of(trial)))


def _rank(kl: float) -> float:
    return math.inf if math.isnan(kl) else kl
