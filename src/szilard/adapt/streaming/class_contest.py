"""A learner of classes and its controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard.adapt.classifier import OnlineClassifier
from szilard.adapt.streaming.contest import Contest, best, forgetting, part
from szilard.adapt.streaming.layout import Layout
from szilard.adapt.streaming.persistence import LastLabel
from szilard.adapt.streaming.settings import StreamSettings


class ClassContest(Contest):
    """Classes: the first row of each class is not scored, because nobody could give it a probability."""

    _copy: LastLabel
    error = "accuracy"

    def __init__(self, settings: StreamSettings, layout: Layout) -> None:
        super().__init__(settings)
        rule, tracker = forgetting(settings)
        self.learner = OnlineClassifier(
            settings.method, broadening=rule, tracker=tracker, belief=settings.belief
        )
        self.learner._open()
        self.layout = layout
        self._copy = LastLabel()
        self._follow()

    @property
    def labels(self) -> list[Any]:
        """Classes in the order of their appearance."""
        return self.learner._labels_

    def copying(self) -> str:
        return "persistence: the last label"

    def columns(self) -> list[str]:
        return ["prediction", "probability", *(f"p({name})" for name in self.layout.classes)]

    def predict(self, x: Mapping[str, Any]) -> list[float | str | None]:
        self._values = self.learner._raw(x, learn=True)
        self._follow()
        self._x = self.learner._input(self._values)
        self._found = self.learner._probabilities(self._values)
        if not self.labels:
            return [None] * (2 + len(self.layout.classes))
        number = best(self._found)
        by_name = dict(zip(self.labels, self._found.tolist(), strict=True))
        return [
            self.labels[number],
            float(self._found[number]),
            *(by_name.get(name) for name in self.layout.classes),
        ]

    def learn(self, target: Any) -> tuple[np.ndarray, np.ndarray]:
        known = len(self.labels)
        number = self.learner._numbers_.get(target, known)
        logs = np.full(len(self.names), np.nan)
        wrong = np.ones(len(self.names))
        others = self._controls.predict_each(self._x) if self._controls is not None and known > 1 else []
        copied = self._copy.last
        if number < known:
            logs[:] = 0.0  # as long as there is one class, everybody is certain of it
            wrong[0] = best(self._found) != number
            wrong[1:] = 0.0 if known == 1 else 1.0
            if known > 1 and len(self.names) > 1:
                logs[1], wrong[1] = np.log(self._copy.predict()[number]), copied != number
                wrong[2:] = [best(one) != number for one in others]
        self.learner._number(target)  # a new class joins, for the controls, too
        self._follow()
        found = None if self._controls is None else self._controls.learn_each(self._x, number)
        self.learner._learn(self._values, target)  # last, because the units of features follow the row
        self._copy.learn(number)
        if known > 1 and number < known:
            logs[0] = self.learner.log_probability_
            if found is not None:
                logs[2:] = found
        return logs, wrong

    def pass_by(self, target: Any) -> None:
        number = self.learner._number(target)
        self._follow()
        self._copy.learn(number)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        self._load_learner(state)
        if not all(isinstance(label, str) for label in self.labels) or len(set(self.labels)) < len(
            self.labels
        ):
            raise ValueError("classes")
        self._load_controls(state)
        self._copy.load_state_dict(part(state, "persistence."), len(self.labels))
