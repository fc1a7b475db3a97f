"""Filters with one hypothesis each, computed together: the controls of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening import Broadening, Temper, TowardsPrior
from szilard.adapt.filter import Filter
from szilard.adapt.observations import Observation
from szilard.adapt.trackers import Branches, Tracker, Tracks

RATE = 0.98  #: of the controls that forget
NAMES = ("temper", "bf", "vcl")  #: presets, in this order


class _Separate(Tracker):
    """Hypotheses that stay equally probable, whatever their evidence."""

    name = "separate"

    def __init__(self, rates: Sequence[float]) -> None:
        self.rates = tuple(rates)

    def start(self) -> Tracks:
        return Tracks.equal(len(self.rates))

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        start = self.start()
        number = len(self.rates)
        return Branches(
            np.arange(number), np.array(self.rates), np.zeros(number, dtype=bool), start.log_weight
        )


class _EachItsOwn(Broadening):
    """A rule for each hypothesis."""

    name = "each-its-own"

    def __init__(self, rules: Sequence[Broadening]) -> None:
        super().__init__()
        self.rules = tuple(rules)

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        parts = [
            rule(belief.take(np.array([number])), rates[[number]], x)
            for number, rule in enumerate(self.rules)
        ]
        return belief.changed(
            mean=np.concatenate([part.mean for part in parts]),
            precision=np.concatenate([part.precision for part in parts]),
            extra={name: np.concatenate([part.extra[name] for part in parts]) for name in belief.extra},
        )


class Controls(Filter):
    """Always-temper and Bayesian forgetting at one rate, and a filter that never forgets, side by side.

    One pass over three beliefs costs less than three filters. Every control predicts and learns for itself.

    Args:
        observation, features, belief, prior_scale: as of :class:`~szilard.adapt.Filter`.
        names: which of :data:`NAMES`.
    """

    def __init__(
        self,
        observation: Observation,
        features: int,
        *,
        names: Sequence[str],
        belief: str = "full",
        prior_scale: float = 1.0,
    ) -> None:
        known: dict[str, tuple[Broadening, float]] = {
            "temper": (Temper(), RATE),
            "bf": (TowardsPrior(), RATE),
            "vcl": (Temper(), 1.0),
        }
        self.names = tuple(names)
        super().__init__(
            observation,
            features,
            broadening=_EachItsOwn([known[name][0] for name in names]),
            tracker=_Separate([known[name][1] for name in names]),
            belief=belief,
            prior_scale=prior_scale,
        )

    def predict_each(self, x: np.ndarray) -> list[np.ndarray]:
        """What each control predicts for an input ``[D]``: probabilities ``[C]``, or mean and variance ``[2]``."""
        _, belief = self._branched(x)
        projection = self._project(belief, x)
        alone = np.eye(len(self.names))
        return [self.observation.predict(alone[n], projection, belief.extra) for n in range(len(self.names))]

    def learn_each(self, x: np.ndarray, target: Any) -> np.ndarray:
        """Learn a row; the log probability of its target under each control before it was learned, ``[K]`` nats."""
        total = self.learn(x, target)
        return self.tracks.log_weight + (total + np.log(len(self.names)))
