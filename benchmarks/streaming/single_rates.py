"""A bank of rates whose single rates are judged, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard.adapt.beliefs import Projection
from szilard.adapt.observations import Observation, Seen


class Recorded(Observation):
    """An observation that keeps the log evidence of every row under each hypothesis.

    The hypotheses of a bank are filters of one rate each, which do not depend on each other: their evidence is that of
    a filter with that rate alone.

    Attributes:
        evidence: of the rows so far, ``[K]`` each, nats.
    """

    name = "recorded"

    def __init__(self, inner: Observation) -> None:
        self.inner, self.outputs = inner, inner.outputs
        self.evidence: list[np.ndarray] = []

    def start(self) -> dict[str, np.ndarray]:
        return self.inner.start()

    def see(self, projection: Projection, extra: Mapping[str, np.ndarray], target: Any) -> Seen:
        seen = self.inner.see(projection, extra, target)
        self.evidence.append(seen.log_evidence)
        return seen

    def predict(
        self, weights: np.ndarray, projection: Projection, extra: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        return self.inner.predict(weights, projection, extra)
