"""Gaussian beliefs about the weights of a linear predictor, one for each hypothesis on how the world changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from szilard.errors import SzilardError


@dataclass(frozen=True)
class WeightPrior:
    """N(mean, 1/precision) for each weight, independent; the belief before any row.

    Attributes:
        mean: ``[O, D]``, one row for each output.
        precision: ``[O, D]``, positive.
    """

    mean: np.ndarray
    precision: np.ndarray

    @classmethod
    def zero_mean(cls, outputs: int, features: int, scale: float) -> WeightPrior:
        """N(0, scale²) for every weight."""
        if not scale > 0 or not np.isfinite(scale):
            raise SzilardError(f"prior_scale must be positive and finite, not {scale:g}")
        return cls(np.zeros((outputs, features)), np.full((outputs, features), scale**-2.0))


@dataclass(frozen=True)
class Projection:
    """The outputs that beliefs expect for one input.

    Attributes:
        mean: ``[K, O]``.
        covariance: ``[K, O, O]``.
        gain: ``[K, n, O]``, the covariance of the weights with the outputs.
    """

    mean: np.ndarray
    covariance: np.ndarray
    gain: np.ndarray


class Belief(ABC):
    """K Gaussians over n = O · D weights, in information form: mean and precision.

    Precisions only grow by positive semidefinite terms and shrink by factors, so that rounding cannot make them
    indefinite. The covariance form loses that after many rows.

    Attributes:
        prior: of a weight; all hypotheses share it.
        mean: ``[K, n]``, weights of the first output first.
        precision: ``[K, n, n]``, or ``[K, n]`` for a diagonal belief.
        extra: other arrays with K rows: what an observation or a broadening rule remembers for each hypothesis.
        start: rows ``[1, ...]`` of ``extra`` of a new hypothesis.
    """

    name: ClassVar[str]

    def __init__(
        self,
        prior: WeightPrior,
        mean: np.ndarray,
        precision: np.ndarray,
        extra: Mapping[str, np.ndarray],
        start: Mapping[str, np.ndarray],
    ) -> None:
        self.prior, self.mean, self.precision = prior, mean, precision
        self.extra, self.start = dict(extra), dict(start)

    @classmethod
    def of_prior(cls, prior: WeightPrior, start: Mapping[str, np.ndarray] | None = None) -> Self:
        """One hypothesis: the prior itself."""
        start = dict(start or {})
        fresh = cls(prior, prior.mean.reshape(1, -1).copy(), np.empty(0), start, start)
        fresh.precision = fresh.prior_precision()[None].copy()
        return fresh

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, index: np.ndarray) -> Self:
        """The hypotheses with these numbers, copied; a number can occur repeatedly."""
        extra = {name: values[index] for name, values in self.extra.items()}
        return type(self)(self.prior, self.mean[index], self.precision[index], extra, self.start)

    def changed(
        self,
        *,
        mean: np.ndarray | None = None,
        precision: np.ndarray | None = None,
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """The same hypotheses with other values."""
        return type(self)(
            self.prior,
            self.mean if mean is None else mean,
            self.precision if precision is None else precision,
            self.extra if extra is None else extra,
            self.start,
        )

    @abstractmethod
    def prior_precision(self) -> np.ndarray:
        """The prior's precision in the shape of one hypothesis."""

    @abstractmethod
    def per_hypothesis(self, values: np.ndarray) -> np.ndarray:
        """``[K]`` in a shape that multiplies precisions."""

    @abstractmethod
    def project(self, x: np.ndarray) -> Projection:
        """The outputs for an input ``[D]``."""

    @abstractmethod
    def absorb(self, x: np.ndarray, projection: Projection, score: np.ndarray, curvature: np.ndarray) -> Self:
        """The belief after an observation.

        Args:
            x: the input ``[D]``.
            projection: of this input.
            score: gradient of the log likelihood by the outputs at their posterior mode, ``[K, O]``.
            curvature: negative second derivative there, ``[K, O, O]``, positive semidefinite.
        """

    @abstractmethod
    def times(self, vectors: np.ndarray) -> np.ndarray:
        """Precision times vectors ``[K, n]``."""

    @abstractmethod
    def solve(self, precision: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Inverse of precisions of this belief's shape times vectors ``[K, n]``."""

    @abstractmethod
    def inverse(self, matrices: np.ndarray) -> np.ndarray:
        """Inverse of precisions or covariances of this belief's shape."""

    @abstractmethod
    def along(self, x: np.ndarray, precision: np.ndarray) -> np.ndarray:
        """The part of precisions that inputs in the direction of x determine: P H' (H P H')⁻¹ H P, in P's shape."""

    @abstractmethod
    def variances(self) -> np.ndarray:
        """Variance of each weight, ``[K, n]``."""

    @abstractmethod
    def is_positive(self) -> bool:
        """Whether all precisions are positive definite, and what observations remember of the noise is positive."""

    def _extra_is_positive(self) -> bool:
        return "noise" not in self.extra or bool((self.extra["noise"] > 0).all())

    @abstractmethod
    def enlarged(self, prior: WeightPrior) -> Self:
        """The belief with further outputs or features, which start at the larger prior."""

    @abstractmethod
    def in_units(self, ratio: np.ndarray, shift: np.ndarray | None) -> Self:
        """The same belief about the outputs, for inputs in other units.

        Args:
            ratio: old input = ratio · new input + shift, ``[D]``.
            shift: ``[D]``, taken up by the first feature, which must be the constant 1 (its own shift is not read);
                None: there is none.
        """

    def inputs(self) -> int:
        """D."""
        return int(self.prior.mean.shape[1])

    def outputs(self) -> int:
        """O."""
        return int(self.prior.mean.shape[0])


def padded_mean(belief: Belief, prior: WeightPrior) -> np.ndarray:
    """Means of a belief, ``[K, n']``, with those of a larger prior for new outputs and features."""
    count, outputs, inputs = len(belief), belief.outputs(), belief.inputs()
    mean = np.repeat(prior.mean[None], count, 0)
    mean[:, :outputs, :inputs] = belief.mean.reshape(count, outputs, inputs)
    return mean.reshape(count, -1)
