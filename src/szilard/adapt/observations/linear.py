"""Numbers with Gaussian noise of a known variance."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtr

from szilard.adapt.beliefs import Projection
from szilard.adapt.observations import mixtures
from szilard.adapt.observations.observation import Observation, Seen
from szilard.errors import SzilardError


class Linear(Observation):
    """y ~ N(a, noise²), the recursive least squares of Bayes' rule. Exact.

    Args:
        noise: standard deviation, in the target's units.
    """

    name = "linear"

    def __init__(self, noise: float) -> None:
        if not (noise > 0 and math.isfinite(noise)):
            raise SzilardError(f"noise must be positive and finite, not {noise:g}")
        self.noise = float(noise)

    def see(self, projection: Projection, extra: Mapping[str, np.ndarray], target: float) -> Seen:
        error = target - projection.mean[:, 0]
        variance = self.noise**2 + projection.covariance[:, 0, 0]
        evidence = -0.5 * (np.log(2 * np.pi * variance) + error**2 / variance)
        curvature = np.full((len(error), 1, 1), self.noise**-2)
        return Seen(evidence, (error / variance)[:, None], curvature)

    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        return mixtures.moments(
            weights, projection.mean[:, 0], self.noise**2 + projection.covariance[:, 0, 0]
        )

    def quantile(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray], level: float
    ) -> float:
        scale = np.sqrt(self.noise**2 + projection.covariance[:, 0, 0])
        return mixtures.quantile(weights, projection.mean[:, 0], scale, ndtr, level)
