"""One of several classes, by Laplace's approximation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, log_softmax

from szilard.adapt.beliefs import Projection
from szilard.adapt.observations.observation import Observation, Seen
from szilard.errors import SzilardError

_STEPS = 50
_HALVINGS = 40
_TOLERANCE = 1e-10


class Softmax(Observation):
    """p(y) = softmax(0, a₁, ..., a_{C-1}): the first class has output 0, as in a multinomial logit.

    With two classes it is :class:`Logistic`. Predictive probabilities are those of Daunizeau (2017, arXiv:1703.00091),
    from the mean and the variance of each difference of two outputs, and are MacKay's for two classes.

    Args:
        classes: C, at least 2.
    """

    name = "softmax"

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise SzilardError(f"softmax needs at least 2 classes, not {classes}")
        self.classes, self.outputs = classes, classes - 1

    def see(self, projection: Projection, extra: Mapping[str, np.ndarray], target: int) -> Seen:
        evidence = np.log(probabilities(projection)[:, target])
        mode = _posterior_mode(projection, target)
        probability = np.exp(_log_probabilities(mode))
        score = -probability[:, 1:]
        if target:
            score[:, target - 1] += 1
        own = probability[:, 1:]
        curvature = own[:, :, None] * (np.eye(self.outputs) - own[:, None, :])
        return Seen(evidence, score, curvature)

    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Probabilities of the classes, ``[C]``."""
        return weights @ probabilities(projection)


def probabilities(projection: Projection) -> np.ndarray:
    """Predictive class probabilities ``[K, C]`` of Gaussian outputs; all are positive and their sum is 1."""
    count, outputs = projection.mean.shape
    mean = np.concatenate((np.zeros((count, 1)), projection.mean), 1)
    covariance = np.zeros((count, outputs + 1, outputs + 1))
    covariance[:, 1:, 1:] = projection.covariance
    own = covariance.diagonal(axis1=1, axis2=2)
    variance = np.maximum(own[:, :, None] + own[:, None, :] - 2 * covariance, 0)
    ahead = (mean[:, :, None] - mean[:, None, :]) / np.sqrt(1 + np.pi / 8 * variance)
    others = 1 / np.maximum(expit(ahead), 1e-300)  # [K, c, d]: 1 / P(c before d)
    total = np.maximum(others.sum(2) - 2 + (1 - outputs), 1)  # 1/s = 2 for c itself
    return (1 / total) / (1 / total).sum(1, keepdims=True)


def _log_probabilities(outputs: np.ndarray) -> np.ndarray:
    return log_softmax(np.concatenate((np.zeros((len(outputs), 1)), outputs), 1), axis=1)


def _posterior_mode(projection: Projection, target: int) -> np.ndarray:
    """The maximum of ln p(target | b) - (b - a)' S⁻¹ (b - a) / 2, ``[K, O]``, by damped Newton steps.

    The steps are in u = S⁻¹ (b - a), which needs no inverse of S: correlated outputs make it nearly singular.
    """
    mean, covariance = projection.mean, projection.covariance
    outputs = mean.shape[1]
    wanted = np.zeros(outputs)
    if target:
        wanted[target - 1] = 1
    dual = np.zeros_like(mean)

    def at(dual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        moved = (covariance @ dual[:, :, None])[:, :, 0]
        logs = _log_probabilities(mean + moved)
        value = 0.5 * (dual * moved).sum(1) - logs[:, target]
        return value, moved, np.exp(logs[:, 1:])

    value, moved, own = at(dual)
    for _ in range(_STEPS):
        residual = wanted - own - dual
        if np.all(np.abs(residual) <= _TOLERANCE):
            break
        curvature = own[:, :, None] * (np.eye(outputs) - own[:, None, :])
        step = np.linalg.solve(np.eye(outputs) + curvature @ covariance, residual[:, :, None])[:, :, 0]
        scale = np.ones(len(mean))
        for _ in range(_HALVINGS):
            trial = at(dual + scale[:, None] * step)
            worse = ~(trial[0] <= value + 1e-12 * (1 + np.abs(value)))
            if not worse.any():
                break
            scale = np.where(worse, 0.5 * scale, scale)
        dual = dual + scale[:, None] * step
        value, moved, own = at(dual)
    return mean + moved
