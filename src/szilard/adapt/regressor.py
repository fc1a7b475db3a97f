"""Learn numbers from rows that arrive one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from szilard.adapt.broadening import Broadening
from szilard.adapt.features import LARGEST
from szilard.adapt.learner import Learner
from szilard.adapt.observations import Linear, Observation, UnknownNoise
from szilard.adapt.trackers import Tracker
from szilard.errors import SzilardError, shortened

WARM_UP = 30  #: rows from which center and scale of the target are taken


class OnlineRegressor(RegressorMixin, Learner):
    """Bayesian linear regression under drift, with noise of an unknown variance.

    Center and scale of the target are those of its first 30 rows, or more, until it has had two values. Until then the
    mean of the targets is predicted, and then these rows are learned in their order.

    Args:
        preset: how it forgets: ``"bank"``, ``"vcl"``, ``"temper"``, ``"bf"``, ``"vbs"`` or ``"bocd"``.
        noise: standard deviation of the noise in the target's units; None: unknown.
        broadening: another rule than the preset's.
        tracker: another tracker than the preset's.
        belief: ``"full"``, or ``"diagonal"`` for many features.
        prior_scale: standard deviation of the weights before the first row: in units of the noise if that is unknown,
            of the target's scale otherwise.
        standardise: use features in units of their standard deviation over the rows before, and the target in those
            of its first rows.
        bias: add a constant feature.

    Attributes:
        log_probability_: log density of the last row that was learned, before it was learned, in nats for a target in
            its own units; NaN until the scale is known.
    """

    def __init__(
        self,
        preset: str = "bank",
        *,
        noise: float | None = None,
        broadening: Broadening | None = None,
        tracker: Tracker | None = None,
        belief: str = "full",
        prior_scale: float = 3.0,
        standardise: bool = True,
        bias: bool = True,
    ) -> None:
        self.preset, self.noise = preset, noise
        self.broadening, self.tracker, self.belief = broadening, tracker, belief
        self.prior_scale, self.standardise, self.bias = prior_scale, standardise, bias

    def learn_one(self, x: Mapping[Any, Any], y: float) -> Self:
        """Learn a row of named features and its target."""
        if not self._started():
            self._open()
        target = _number(y)
        self._learn(self._raw(x, learn=True), target)
        return self

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """The mean of the target of a row; 0 before the first row was learned."""
        return self.moments_one(x)[0]

    def moments_one(self, x: Mapping[Any, Any]) -> tuple[float, float]:
        """Mean and standard deviation of the target of a row, in its units; (0, NaN) before the first row."""
        if not self._started():
            return 0.0, math.nan
        return self._moments(self._raw(x, learn=False))

    def interval_one(self, x: Mapping[Any, Any], level: float = 0.9) -> tuple[float, float]:
        """The central interval in which the target of a row is with the probability ``level``; NaN before there is one.

        It is wider or narrower than the standard deviation suggests, because the mixture has heavy tails.
        """
        if not 0 < level < 1:
            raise SzilardError(f"level must be between 0 and 1, exclusive, not {level:g}")
        if not self._started() or self._scale_ is None:
            return math.nan, math.nan
        center, scale = self._scale_
        x_ = self._input(self._raw(x, learn=False))
        low, high = (self.filter_.quantile(x_, 0.5 + side * level / 2) for side in (-1, 1))
        return center + scale * low, center + scale * high

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Learn rows ``[N, D]`` and targets ``[N]`` in their order."""
        first = not self._started() or self._unlearned()
        if not self._started():
            self._open()
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=first)
        X = self._array(X, reset=first)
        for row, target in zip(X, y.tolist(), strict=True):
            self._learn(row, _number(target))
        return self

    def fit(self, X: Any, y: Any) -> Self:
        """Forget everything and learn these rows in their order."""
        self._forget()
        return self.partial_fit(X, y)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of the target of each row, ``[N]``; with ``return_std`` also the standard deviation, ``[N]``."""
        self._check_learned()
        found = np.array([self._moments(row) for row in self._array(X, reset=False)])
        return (found[:, 0], found[:, 1]) if return_std else found[:, 0]

    def outputs(self) -> list[str]:
        """The target."""
        return ["target"]

    def _open(self) -> None:
        if self.noise is not None and not (self.noise > 0 and math.isfinite(self.noise)):
            raise SzilardError(f"noise must be positive and finite, or None, not {self.noise:g}")
        self._early_: list[tuple[np.ndarray, float]] = []
        self._scale_: tuple[float, float] | None = None if self.standardise else (0.0, 1.0)
        self.log_probability_ = math.nan
        self._start(self._observation())

    def _observation(self) -> Observation:
        if self.noise is None:
            return UnknownNoise()
        return Linear(self.noise / (1.0 if self._scale_ is None else self._scale_[1]))

    def _learn(self, values: np.ndarray, target: float) -> None:
        if self._scale_ is None:
            self._early_.append((values, target))
            self._seen(values)
            self._find_scale()
            return
        center, scale = self._scale_
        found = self.filter_.learn(self._input(values), (target - center) / scale)
        self.log_probability_ = found - math.log(scale)
        self._seen(values)

    def _find_scale(self) -> None:
        """Take center and scale from the first rows when there are enough, and learn these rows."""
        targets = np.array([target for _, target in self._early_])
        if len(targets) < WARM_UP or not targets.std() > 1e-9 * np.abs(targets).max():
            return
        center, scale = float(targets.mean()), float(targets.std())
        self._scale_ = center, scale
        self.filter_.grow(observation=self._observation())
        for values, target in self._early_:
            padded = np.append(values, np.full(len(self.scaler_.count) - len(values), np.nan))
            self.filter_.learn(self._input(padded), (target - center) / scale)
        self._early_ = []

    def _moments(self, values: np.ndarray) -> tuple[float, float]:
        if self._scale_ is None:
            targets = [target for _, target in self._early_]
            return float(np.mean(targets)) if targets else 0.0, float(np.std(targets)) if len(
                targets
            ) > 1 else math.nan
        center, scale = self._scale_
        mean, variance = self.filter_.predict(self._input(values))
        return center + scale * float(mean), scale * math.sqrt(variance)

    def _plain_state(self) -> dict[str, Any]:
        return {
            "scale": self._scale_,
            "early": [[values.tolist(), target] for values, target in self._early_],
        }

    def _observation_of(self, plain: dict[str, Any]) -> Observation:
        self._scale_ = (
            None if plain["scale"] is None else (float(plain["scale"][0]), float(plain["scale"][1]))
        )
        return self._observation()

    def _load_plain(self, plain: dict[str, Any]) -> None:
        self._early_ = [(np.array(values, dtype=float), float(target)) for values, target in plain["early"]]
        self.log_probability_ = math.nan


def _number(target: Any) -> float:
    try:
        number = float(target)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SzilardError(f"the target of a row is {shortened(repr(target), 60)}, not a finite number")
    if abs(number) > LARGEST:
        raise SzilardError(f"the target of a row is {number:g}; numbers of a stream are at most {LARGEST:g}")
    return number
