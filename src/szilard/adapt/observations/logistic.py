"""One of two classes, by Laplace's approximation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, log_expit

from szilard.adapt.beliefs import Projection
from szilard.adapt.observations.observation import Observation, Seen

_STEPS = 60  # of a bracketed Newton iteration, which needs about five
_TOLERANCE = 1e-12  # of the mode, relative to its bracket


class Logistic(Observation):
    """p(y = 1) = s(a) with the logistic function s.

    The target is 0 or 1. A belief stays Gaussian: its new mean is the posterior mode along the direction of the input,
    and its new precision the curvature there. Predictive probabilities are s(a / √(1 + πv/8)) (MacKay 1992).
    """

    name = "logistic"

    def see(self, projection: Projection, extra: Mapping[str, np.ndarray], target: int) -> Seen:
        mean, variance = projection.mean[:, 0], projection.covariance[:, 0, 0]
        logit = mean / np.sqrt(1 + np.pi / 8 * variance)
        evidence = log_expit(logit if target else -logit)
        probability = expit(posterior_mode(mean, variance, target))
        curvature = probability * (1 - probability)
        return Seen(evidence, (target - probability)[:, None], curvature[:, None, None])

    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Probabilities of both classes, ``[2]``."""
        mean, variance = projection.mean[:, 0], projection.covariance[:, 0, 0]
        positive = float(weights @ expit(mean / np.sqrt(1 + np.pi / 8 * variance)))
        return np.array([1 - positive, positive])


def posterior_mode(mean: np.ndarray, variance: np.ndarray, target: int) -> np.ndarray:
    """The maximum of ln s(±b) - (b - mean)² / (2 variance), ``[K]``.

    Newton's method alone diverges for large variances. The mode lies between the mean and one variance from it, so
    that steps that leave the bracket are replaced by bisection.
    """
    low = mean - variance * (1 - target)
    high = mean + variance * target
    mode = mean
    for _ in range(_STEPS):
        probability = expit(mode)
        excess = mode - mean - variance * (target - probability)
        found = np.abs(excess) <= _TOLERANCE * (1 + np.abs(mode))
        if found.all():
            break
        below = excess < 0
        low, high = np.where(below, mode, low), np.where(below, high, mode)
        step = mode - excess / (1 + variance * probability * (1 - probability))
        inside = (step > low) & (step < high)
        mode = np.where(found, mode, np.where(inside, step, 0.5 * (low + high)))  # a mode that is found stays
    return mode
