"""A belief with a full precision matrix."""

from __future__ import annotations

from typing import Self

import numpy as np

from szilard.adapt.beliefs.belief import Belief, Projection, WeightPrior, padded_mean


class Full(Belief):
    """All correlations of weights: n² numbers for each hypothesis, and n³ operations for each row."""

    name = "full"

    def prior_precision(self) -> np.ndarray:
        return np.diag(self.prior.precision.reshape(-1))

    def per_hypothesis(self, values: np.ndarray) -> np.ndarray:
        return values[:, None, None]

    def project(self, x: np.ndarray) -> Projection:
        count, outputs = len(self), self.outputs()
        directions = _directions(x, outputs)
        gain = np.linalg.solve(self.precision, np.broadcast_to(directions, (count, *directions.shape)))
        return Projection(self.mean @ directions, directions.T @ gain, gain)

    def absorb(self, x: np.ndarray, projection: Projection, score: np.ndarray, curvature: np.ndarray) -> Self:
        mean = self.mean + (projection.gain @ score[:, :, None])[:, :, 0]
        square = np.multiply.outer(x, x)
        added = curvature[:, :, None, :, None] * square[None, None, :, None, :]
        return self.changed(mean=mean, precision=self.precision + added.reshape(self.precision.shape))

    def times(self, vectors: np.ndarray) -> np.ndarray:
        return (self.precision @ vectors[:, :, None])[:, :, 0]

    def solve(self, precision: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        return np.linalg.solve(precision, vectors[:, :, None])[:, :, 0]

    def inverse(self, matrices: np.ndarray) -> np.ndarray:
        inverted = np.linalg.inv(matrices)
        return 0.5 * (inverted + inverted.swapaxes(-1, -2))

    def along(self, x: np.ndarray, precision: np.ndarray) -> np.ndarray:
        directions = _directions(x, self.outputs())
        seen = precision @ directions
        inner = directions.T @ seen
        part = seen @ np.linalg.solve(inner, seen.swapaxes(-1, -2))
        return 0.5 * (part + part.swapaxes(-1, -2))

    def variances(self) -> np.ndarray:
        return np.linalg.inv(self.precision).diagonal(axis1=1, axis2=2).copy()

    def in_units(self, ratio: np.ndarray, shift: np.ndarray | None) -> Self:
        count, outputs, inputs = len(self), self.outputs(), self.inputs()
        back = np.diag(1 / ratio)  # from new weights to old ones
        if shift is not None:
            back[0, 1:] = -shift[1:] / ratio[1:]
        forth = np.linalg.inv(back)
        mean = self.mean.reshape(count, outputs, inputs) @ forth.T
        precision = self.precision.reshape(count, outputs, inputs, outputs, inputs)
        moved = np.einsum("ia,kpiqj,jb->kpaqb", back, precision, back, optimize=True).reshape(
            self.precision.shape
        )
        moved = 0.5 * (moved + moved.swapaxes(1, 2))
        return self.changed(mean=mean.reshape(count, -1), precision=moved)

    def is_positive(self) -> bool:
        size = np.sqrt(np.abs(self.precision.diagonal(axis1=1, axis2=2)))
        odd = np.abs(self.precision - self.precision.swapaxes(1, 2))
        if not (odd <= 1e-6 * size[:, :, None] * size[:, None, :]).all():
            return False
        try:
            np.linalg.cholesky(self.precision)
        except np.linalg.LinAlgError:
            return False
        return self._extra_is_positive()

    def enlarged(self, prior: WeightPrior) -> Self:
        count, outputs, inputs = len(self), self.outputs(), self.inputs()
        shape = prior.mean.shape
        precision = np.repeat(np.diag(prior.precision.reshape(-1))[None], count, 0).reshape(
            count, *shape, *shape
        )
        precision[:, :outputs, :inputs, :outputs, :inputs] = self.precision.reshape(
            count, outputs, inputs, outputs, inputs
        )
        size = prior.mean.size
        mean = padded_mean(self, prior)
        return type(self)(prior, mean, precision.reshape(count, size, size), self.extra, self.start)


def _directions(x: np.ndarray, outputs: int) -> np.ndarray:
    """H' ``[O·D, O]``: the weights of output o times column o give that output."""
    return np.kron(np.eye(outputs), x[:, None]) if outputs > 1 else x[:, None]
