"""One of two classes, by Laplace's approximation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, log_expit, wrightomega

from szilard.adapt.beliefs import Projection
from szilard.adapt.observations.observation import Observation, Seen

_LEAST = 1e-300
_STEPS = 60  # of a bracketed Newton iteration, which needs about four
_TOLERANCE = 1e-13  # of the mode, relative to its terms


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
        sign = 1.0 if target else -1.0
        other = expit(-sign * posterior_mode(mean, variance, target))  # probability of the other class
        return Seen(evidence, (sign * other)[:, None], (other * (1 - other))[:, None, None])

    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Probabilities of both classes, ``[2]``."""
        mean, variance = projection.mean[:, 0], projection.covariance[:, 0, 0]
        positive = float(weights @ expit(mean / np.sqrt(1 + np.pi / 8 * variance)))
        return np.array([1 - positive, positive])


def posterior_mode(mean: np.ndarray, variance: np.ndarray, target: int) -> np.ndarray:
    """The maximum of ln s(±b) - (b - mean)² / (2 variance), ``[K]``.

    With t = -b for target 1 and t = b for target 0 the gradient vanishes where t + variance · s(t) = c. Newton's method
    starts at a lower bound, the larger of the solutions for s(t) = exp(t), by Wright's omega function, and s(t) = 1. It
    diverges elsewhere for large variances. Steps that leave the bracket are replaced by bisection.
    """
    sign = -1.0 if target else 1.0
    wanted = sign * mean
    omega = wrightomega(wanted + np.log(np.maximum(variance, _LEAST)))
    low = np.maximum(wanted - omega, wanted - variance)
    high, place = wanted, low
    for _ in range(_STEPS):
        probability = expit(place)
        excess = place + variance * probability - wanted
        if (np.abs(excess) <= _TOLERANCE * (1 + np.abs(place) + np.abs(wanted))).all():
            break
        below = excess < 0
        low, high = np.where(below, place, low), np.where(below, high, place)
        step = place - excess / (1 + variance * probability * (1 - probability))
        place = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return sign * place
