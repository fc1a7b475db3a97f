"""Learn classes from rows that arrive one by one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from szilard.adapt.broadening import Broadening
from szilard.adapt.learner import Learner
from szilard.adapt.observations import Logistic, Observation, Softmax
from szilard.adapt.trackers import Tracker
from szilard.errors import SzilardError, shortened

MOST_CLASSES = 1000


class OnlineClassifier(ClassifierMixin, Learner):
    """Bayesian logistic or softmax regression under drift.

    A class that appears later joins at the prior. Rows are dicts of features (``learn_one``) or arrays
    (``partial_fit``), with the conventions of river and of scikit-learn.

    Args:
        preset: how it forgets: ``"bank"``, ``"vcl"``, ``"temper"``, ``"bf"``, ``"vbs"`` or ``"bocd"``.
        broadening: another rule than the preset's.
        tracker: another tracker than the preset's.
        belief: ``"full"``, or ``"diagonal"`` for many features.
        prior_scale: standard deviation of the weights before the first row.
        standardise: use features in units of their standard deviation over the rows before.
        bias: add a constant feature.

    Attributes:
        classes_: sorted.
        log_probability_: of the last row that was learned, before it was learned, in nats; NaN if its class was new.
    """

    def __init__(
        self,
        preset: str = "bank",
        *,
        broadening: Broadening | None = None,
        tracker: Tracker | None = None,
        belief: str = "full",
        prior_scale: float = 1.0,
        standardise: bool = True,
        bias: bool = True,
    ) -> None:
        self.preset, self.broadening, self.tracker, self.belief = preset, broadening, tracker, belief
        self.prior_scale, self.standardise, self.bias = prior_scale, standardise, bias

    def learn_one(self, x: Mapping[Any, Any], y: Hashable) -> Self:
        """Learn a row of named features and its class."""
        if not self._started():
            self._open()
        _check_label(y)
        self._learn(self._raw(x, learn=True), y)
        return self

    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[Hashable, float]:
        """Probabilities by class of a row; empty before the first row was learned."""
        if not self._started():
            return {}
        return dict(zip(self._labels_, self._probabilities(self._raw(x, learn=False)).tolist(), strict=True))

    def predict_one(self, x: Mapping[Any, Any]) -> Any:
        """The most probable class of a row; None before the first row was learned."""
        found = self.predict_proba_one(x)
        return max(found, key=lambda label: found[label]) if found else None

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Learn rows in their order.

        Args:
            X: ``[N, D]``.
            y: ``[N]``.
            classes: all classes, if they are known before they occur.
        """
        first = not self._started() or self._unlearned()
        if not self._started():
            self._open()
        X, y = validate_data(self, X, y, dtype=np.float64, reset=first)
        check_classification_targets(y)
        X = self._array(X, reset=first)
        known = None if classes is None else np.unique(np.asarray(classes)).tolist()
        unknown = [] if known is None else sorted(set(y.tolist()) - set(known))
        if unknown:
            raise SzilardError(
                f"y has the class {shortened(repr(unknown[0]), 60)}, which is not in classes; add it"
            )
        for label in known or ():
            self._number(label)
        for row, label in zip(X, y.tolist(), strict=True):
            self._learn(row, label)
        return self

    def fit(self, X: Any, y: Any) -> Self:
        """Forget everything and learn these rows in their order."""
        self._forget()
        return self.partial_fit(X, y, classes=y)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities ``[N, C]`` of rows ``[N, D]``, in the order of ``classes_``."""
        self._check_learned()
        rows = self._array(X, reset=False)
        order = [self._numbers_[label] for label in self.classes_.tolist()]
        return np.stack([self._probabilities(row)[order] for row in rows])

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, ``[N]``."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])

    def outputs(self) -> list[str]:
        """Each class but the first that occurred: its log odds against that one."""
        self._check_learned()
        return [f"{label} against {self._labels_[0]}" for label in self._labels_[1:]] or [
            f"not {self._labels_[0]}"
        ]

    @property
    def classes_(self) -> np.ndarray:
        """The classes that occurred, sorted."""
        if not self._started():
            raise AttributeError("classes_ exists after the first row")
        try:
            return np.array(sorted(self._labels_))
        except TypeError:  # texts and numbers
            return np.array(self._labels_, dtype=object)

    def _open(self) -> None:
        self._labels_: list[Any] = []
        self._numbers_: dict[Any, int] = {}
        self.log_probability_ = math.nan
        self._start(Logistic())

    def _number(self, label: Any) -> int:
        """The number of a class; a new one joins."""
        if label in self._numbers_:
            first = self._labels_[self._numbers_[label]]
            if isinstance(first, bool) != isinstance(label, bool):  # True == 1
                raise SzilardError(
                    f"the classes {first!r} and {label!r} are equal in Python; use one type of label"
                )
        else:
            if len(self._labels_) == MOST_CLASSES:
                raise SzilardError(
                    f"more than {MOST_CLASSES} classes: is the target a number? Use OnlineRegressor"
                )
            if len(self._labels_) >= 2:
                self.filter_.grow(observation=Softmax(len(self._labels_) + 1))
            self._numbers_[label] = len(self._labels_)
            self._labels_.append(label)
        return self._numbers_[label]

    def _learn(self, values: np.ndarray, label: Any) -> None:
        new = label not in self._numbers_
        number = self._number(label)
        found = self.filter_.learn(self._input(values), number)
        # As long as there is one class, the filter compares it with one that has not occurred.
        self.log_probability_ = math.nan if new else 0.0 if len(self._labels_) == 1 else found
        self._seen(values)

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        """``[C]`` in the order of appearance."""
        count = len(self._labels_)
        return self.filter_.predict(self._input(values)) if count > 1 else np.ones(count)

    def _plain_state(self) -> dict[str, Any]:
        return {"labels": self._labels_}

    def _observation_of(self, plain: dict[str, Any]) -> Observation:
        count = len(plain["labels"])
        return Softmax(count) if count > 2 else Logistic()

    def _load_plain(self, plain: dict[str, Any]) -> None:
        self._labels_ = list(plain["labels"])
        self._numbers_ = {label: i for i, label in enumerate(self._labels_)}
        self.log_probability_ = math.nan


def _check_label(label: Any) -> None:
    if (
        label is None
        or (isinstance(label, float) and not math.isfinite(label))
        or not isinstance(label, Hashable)
    ):
        raise SzilardError(
            f"the class of a row is {shortened(repr(label), 60)}; give a text, a number or a boolean"
        )
