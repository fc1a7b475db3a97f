"""A belief with independent weights."""

from __future__ import annotations

from typing import Self

import numpy as np

from szilard.adapt.beliefs.belief import Belief, Projection, WeightPrior, padded_mean


class Diagonal(Belief):
    """Independent weights: n numbers and n operations, for many features. Correlated features learn more slowly."""

    name = "diagonal"

    def prior_precision(self) -> np.ndarray:
        return self.prior.precision.reshape(-1)

    def per_hypothesis(self, values: np.ndarray) -> np.ndarray:
        return values[:, None]

    def project(self, x: np.ndarray) -> Projection:
        count, outputs, inputs = len(self), self.outputs(), self.inputs()
        mean = self.mean.reshape(count, outputs, inputs) @ x
        own = x / self.precision.reshape(count, outputs, inputs)
        gain = np.zeros((count, outputs, inputs, outputs))
        index = np.arange(outputs)
        gain[:, index, :, index] = own.swapaxes(0, 1)
        covariance = np.zeros((count, outputs, outputs))
        covariance[:, index, index] = own @ x
        return Projection(mean, covariance, gain.reshape(count, outputs * inputs, outputs))

    def absorb(self, x: np.ndarray, projection: Projection, score: np.ndarray, curvature: np.ndarray) -> Self:
        mean = self.mean + (projection.gain @ score[:, :, None])[:, :, 0]
        own = curvature.diagonal(axis1=1, axis2=2)
        added = own[:, :, None] * (x * x)
        return self.changed(mean=mean, precision=self.precision + added.reshape(self.precision.shape))

    def times(self, vectors: np.ndarray) -> np.ndarray:
        return self.precision * vectors

    def solve(self, precision: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return vectors / precision

    def inverse(self, matrices: np.ndarray) -> np.ndarray:
        return 1.0 / matrices

    def along(self, x: np.ndarray, precision: np.ndarray) -> np.ndarray:
        shares = precision.reshape(*precision.shape[:-1], self.outputs(), self.inputs()) * (x * x)
        total = shares.sum(-1, keepdims=True)
        shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        return precision * shares.reshape(precision.shape)

    def variances(self) -> np.ndarray:
        return 1.0 / self.precision

    def in_units(self, ratio: np.ndarray, shift: np.ndarray | None) -> Self:
        count, outputs, inputs = len(self), self.outputs(), self.inputs()
        mean = self.mean.reshape(count, outputs, inputs)
        if shift is not None:
            mean = mean.copy()
            mean[:, :, 0] += mean[:, :, 1:] @ shift[1:]
        precision = self.precision.reshape(count, outputs, inputs) / ratio**2
        return self.changed(mean=(mean * ratio).reshape(count, -1), precision=precision.reshape(count, -1))

    def is_positive(self) -> bool:
        return bool((self.precision > 0).all()) and self._extra_is_positive()

    def enlarged(self, prior: WeightPrior) -> Self:
        count, outputs, inputs = len(self), self.outputs(), self.inputs()
        precision = np.repeat(prior.precision[None], count, 0)
        precision[:, :outputs, :inputs] = self.precision.reshape(count, outputs, inputs)
        return type(self)(
            prior, padded_mean(self, prior), precision.reshape(count, -1), self.extra, self.start
        )
