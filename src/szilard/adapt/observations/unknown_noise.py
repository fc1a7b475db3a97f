"""Numbers with Gaussian noise of an unknown variance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import gammaln, stdtr

from szilard.adapt.beliefs import Projection
from szilard.adapt.observations import mixtures
from szilard.adapt.observations.observation import Observation, Seen
from szilard.errors import SzilardError

_LEAST = 1.05  # shape for which a variance is given: that of a Student's t with 2.1 degrees of freedom


class UnknownNoise(Observation):
    """y ~ N(a, s²) with s² ~ InverseGamma, and weights whose covariance is s² / precision. Exact.

    Predictions are Student's t. The variances of projections are in units of s².

    Args:
        noise: prior guess of the noise's standard deviation, in the target's units.
        degrees: degrees of freedom of that guess; 1 is as vague as one row.
    """

    name = "unknown-noise"

    def __init__(self, noise: float = 1.0, degrees: float = 1.0) -> None:
        for value, what in ((noise, "noise"), (degrees, "degrees")):
            if not (value > 0 and np.isfinite(value)):
                raise SzilardError(f"{what} must be positive and finite, not {value:g}")
        self.noise, self.degrees = float(noise), float(degrees)

    def start(self) -> dict[str, np.ndarray]:
        return {"noise": np.array([[0.5 * self.degrees, 0.5 * self.degrees * self.noise**2]])}

    def see(self, projection: Projection, extra: Mapping[str, np.ndarray], target: float) -> Seen:
        shape, scale = extra["noise"].T
        error = target - projection.mean[:, 0]
        spread = 1 + projection.covariance[:, 0, 0]
        surprise = error**2 / (2 * scale * spread)
        evidence = (
            gammaln(shape + 0.5)
            - gammaln(shape)
            - 0.5 * np.log(2 * np.pi * scale * spread)
            - (shape + 0.5) * np.log1p(surprise)
        )
        noise = np.stack((shape + 0.5, scale * (1 + surprise)), 1)
        return Seen(evidence, (error / spread)[:, None], np.ones((len(error), 1, 1)), {"noise": noise})

    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Mean and variance; below 2.1 degrees of freedom, where there is hardly a variance, that of 2.1."""
        shape, scale = extra["noise"].T
        variance = scale * (1 + projection.covariance[:, 0, 0]) / (np.maximum(shape, _LEAST) - 1)
        return mixtures.moments(weights, projection.mean[:, 0], variance)

    def quantile(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray], level: float
    ) -> float:
        shape, scale = extra["noise"].T
        spread = np.sqrt(scale / shape * (1 + projection.covariance[:, 0, 0]))
        return mixtures.quantile(
            weights, projection.mean[:, 0], spread, lambda values: stdtr(2 * shape, values), level
        )
