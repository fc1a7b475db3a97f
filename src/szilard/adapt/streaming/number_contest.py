"""A learner of numbers and its controls."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard.adapt.regressor import OnlineRegressor
from szilard.adapt.streaming.contest import Contest, forgetting, part
from szilard.adapt.streaming.layout import Layout
from szilard.adapt.streaming.persistence import LastNumber
from szilard.adapt.streaming.settings import StreamSettings


class NumberContest(Contest):
    """Numbers: rows are scored from where the target's scale is known, after about 30 rows."""

    _copy: LastNumber
    error = "rmse"

    def __init__(self, settings: StreamSettings, layout: Layout) -> None:
        super().__init__(settings)
        rule, tracker = forgetting(settings)
        self.learner = OnlineRegressor(
            settings.method, broadening=rule, tracker=tracker, belief=settings.belief
        )
        self.learner._open()
        self.layout = layout
        self._copy = LastNumber()
        self._follow()

    def copying(self) -> str:
        return "persistence: the last number"

    def columns(self) -> list[str]:
        return ["prediction", "std"]

    def predict(self, x: Mapping[str, Any]) -> list[float | str | None]:
        self._values = self.learner._raw(x, learn=True)
        self._follow()
        self._x = self.learner._input(self._values)
        self._found = self.learner._moments(self._values)
        mean, std = self._found
        if self.learner._scale_ is None and not self.learner._early_:
            return [None, None]
        return [mean, std if math.isfinite(std) else None]

    def learn(self, target: Any) -> tuple[np.ndarray, np.ndarray]:
        logs = np.full(len(self.names), np.nan)
        errors = np.full(len(self.names), np.nan)
        scale = self.learner._scale_
        early = [*self.learner._early_, (self._values, target)] if scale is None else []
        others = [] if self._controls is None or scale is None else self._controls.predict_each(self._x)
        if self._controls is not None and scale is not None:
            center, width = scale
            logs[2:] = self._controls.learn_each(self._x, (target - center) / width) - math.log(width)
        self.learner._learn(self._values, target)  # last, because the units of features follow the row
        if scale is None:
            self._copy.learn(target)
            if self.learner._scale_ is not None:
                self._start(early)
            return logs, errors
        center, width = scale
        logs[0], errors[0] = self.learner.log_probability_, self._found[0] - target
        if len(self.names) > 1:
            logs[1], errors[1] = self._copy.log_density(target), self._copy.moments()[0] - target
        if self._controls is not None:
            errors[2:] = [center + width * float(mean) - target for mean, _ in others]
        self._copy.learn(target)
        return logs, errors

    def pass_by(self, target: Any) -> None:
        self._copy.learn(target)

    def _start(self, early: list[tuple[np.ndarray, float]]) -> None:
        """Let the controls learn the first rows, now that the target's scale is known."""
        assert self.learner._scale_ is not None
        center, width = self.learner._scale_
        self._copy.start(width)
        self._follow()
        if self._controls is None:
            return
        for values, target in early:
            padded = np.append(values, np.full(len(self.learner.scaler_.count) - len(values), np.nan))
            self._controls.learn(self.learner._input(padded), (target - center) / width)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._load_learner(state)
        self._load_controls(state)
        self._copy.load_state_dict(part(state, "persistence."))
        if len(self._copy.early) < len(self.learner._early_):
            raise ValueError("first rows")
        if (self.learner._scale_ is not None) != math.isfinite(self._copy.scale):
            raise ValueError("differences")
        center, scale = self.learner._scale_ or (0.0, 1.0)
        if not (math.isfinite(center) and math.isfinite(scale) and scale > 0):
            raise ValueError("scale")
        for values, target in self.learner._early_:
            if values.ndim != 1 or len(values) > len(self.learner.scaler_.count) or not math.isfinite(target):
                raise ValueError("first rows")
