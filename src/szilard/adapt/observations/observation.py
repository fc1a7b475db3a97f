"""How a target follows from the outputs of a linear predictor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from szilard.adapt.beliefs import Projection
from szilard.errors import SzilardError


@dataclass(frozen=True)
class Seen:
    """What a target says about the outputs, under each of K hypotheses.

    Attributes:
        log_evidence: log predictive probability or density of the target before it was seen, ``[K]``, nats.
        score: gradient of the log likelihood by the outputs at their posterior mode, ``[K, O]``.
        curvature: negative second derivative there, ``[K, O, O]``.
        extra: what the observation remembers for each hypothesis, afterwards.
    """

    log_evidence: np.ndarray
    score: np.ndarray
    curvature: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)


class Observation(ABC):
    """A likelihood p(y | outputs), with outputs linear in the weights.

    Attributes:
        outputs: O.
    """

    name: ClassVar[str]
    outputs: int = 1

    def start(self) -> dict[str, np.ndarray]:
        """Arrays ``[1, ...]`` that the observation keeps for each hypothesis."""
        return {}

    @abstractmethod
    def see(self, projection: Projection, extra: Mapping[str, np.ndarray], target: Any) -> Seen:
        """What a target says, under each hypothesis."""

    @abstractmethod
    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """What the mixture predicts: class probabilities ``[C]``, or mean and variance ``[2]``.

        Args:
            weights: probabilities of the hypotheses, ``[K]``.
            projection: their outputs.
            extra: what they remember.
        """

    def quantile(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray], level: float
    ) -> float:
        """The number below which the mixture has the probability ``level`` (targets that are numbers).

        Args:
            weights: probabilities of the hypotheses, ``[K]``.
            projection: their outputs.
            extra: what they remember.
            level: between 0 and 1, exclusive.
        """
        raise SzilardError(f"a {self.name} target is a class and has no quantiles")
