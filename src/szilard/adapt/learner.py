"""What learners for classes and for numbers have in common: features, scales, and the filter."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from szilard.adapt.broadening import Broadening
from szilard.adapt.features import LARGEST, Features
from szilard.adapt.filter import Filter
from szilard.adapt.observations import Observation
from szilard.adapt.presets import PRESETS
from szilard.adapt.scaling import Scaler
from szilard.adapt.trackers import Tracker
from szilard.errors import SzilardError


class Learner(ABC, BaseEstimator):
    """A filter over rows with named features (``learn_one``) or over arrays (``partial_fit``).

    Attributes:
        filter_: the :class:`~szilard.adapt.Filter`.
        scaler_: mean and deviation of each feature so far.
        followers_: other filters on the same inputs, whose units change with those of ``filter_``.
        n_features_in_: number of features, if arrays were given.
    """

    preset: str
    broadening: Broadening | None
    tracker: Tracker | None
    belief: str
    prior_scale: float
    standardise: bool
    bias: bool

    def _start(self, observation: Observation) -> None:
        rule, tracker = self._rules()
        self.filter_ = Filter(
            observation,
            int(self.bias),
            broadening=rule,
            tracker=tracker,
            belief=self.belief,
            prior_scale=self.prior_scale,
        )
        self.followers_: list[Filter] = []
        self.scaler_ = Scaler()
        self.names_ = Features()

    def _rules(self) -> tuple[Broadening, Tracker]:
        if self.preset not in PRESETS:
            raise SzilardError(f"unknown preset {self.preset!r}: choose {', '.join(PRESETS)}")
        rule, tracker = PRESETS[self.preset].make()
        return self.broadening or rule, self.tracker or tracker

    def _started(self) -> bool:
        return hasattr(self, "filter_")

    def _forget(self) -> None:
        """Be as before the first row."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    def _raw(self, x: Mapping[Any, Any], *, learn: bool) -> np.ndarray:
        """A row of named features as a vector; new features get a column if ``learn``."""
        if not isinstance(x, Mapping):
            raise SzilardError(
                f"a row must be a dict of features, not {type(x).__name__}; give arrays to partial_fit"
            )
        if hasattr(self, "n_features_in_"):
            raise SzilardError("this learner has learned arrays; give it arrays, or start a new one")
        values = self.names_.vector(x)  # before a new column is made, so that a refused row changes nothing
        if learn:
            for number in self.names_.learn(x):
                self.scaler_.grow(len(self.scaler_.count) + 1, scaled=number)
            values = self.names_.vector(x)
            self._widen()
        return values

    def _widen(self) -> None:
        columns = len(self.scaler_.count) + int(self.bias)
        if columns != self.filter_.features:
            self.filter_.grow(features=columns)

    def _input(self, values: np.ndarray) -> np.ndarray:
        """The filter's input ``[D]`` of raw features, with 1 for the bias first: features are added at the end."""
        scaled = self.scaler_(values) if self.standardise else np.where(np.isnan(values), 0.0, values)
        return np.append(1.0, scaled) if self.bias else scaled

    def _seen(self, values: np.ndarray) -> None:
        """Let means, deviations and units follow a row that was learned."""
        self.scaler_.learn(values)
        moved = self.scaler_.follow()
        if moved is None or not self.standardise:
            return
        ratio, shift = (np.append(1.0, moved[0]), np.append(0.0, moved[1])) if self.bias else (moved[0], None)
        for one in (self.filter_, *self.followers_):
            one.in_units(ratio, shift)

    def _array(self, X: Any, *, reset: bool) -> np.ndarray:
        """A float array ``[N, D]``, checked as scikit-learn does; opens the columns at the first call."""
        if len(getattr(self, "names_", ())):
            raise SzilardError("this learner has learned rows with names; give it dicts, or start a new one")
        checked = np.asarray(validate_data(self, X, dtype=np.float64, reset=reset))
        if np.abs(checked).max(initial=0) > LARGEST:
            raise SzilardError(f"X has values beyond {LARGEST:g}, whose squares are not finite; scale them")
        if reset:
            self.scaler_.grow(checked.shape[1])
            self._widen()
        return checked

    def _unlearned(self) -> bool:
        """Whether no array has been learned."""
        return not hasattr(self, "n_features_in_")

    def _check_learned(self) -> None:
        check_is_fitted(self, "filter_")

    def weights(self) -> dict[str, list[tuple[float, float]]]:
        """Mean and standard deviation of each weight by feature, a pair for each of :meth:`outputs`, in present units.

        The bias is ``"bias"``, or ``"(bias)"`` beside a feature of that name.
        """
        self._check_learned()
        mean, std = self.filter_.weights()
        names = self.names_.names() or [str(name) for name in getattr(self, "feature_names_in_", ())]
        names = names or [f"x{i}" for i in range(len(self.scaler_.count))]
        titles = (["(bias)" if "bias" in names else "bias"] if self.bias else []) + names
        return {
            title: [(float(m), float(s)) for m, s in zip(mean[:, i], std[:, i], strict=True)]
            for i, title in enumerate(titles)
        }

    @abstractmethod
    def outputs(self) -> list[str]:
        """What each output is, for people."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that rows changed, as arrays that ``numpy.savez`` stores without pickling."""
        self._check_learned()
        plain = {
            "learner": self._setting(),
            "columns": [[name, text] for name, text in self.names_.columns],
            "kinds": self.names_.kinds,
            "arrays": None if self._unlearned() else int(self.n_features_in_),
            **self._plain_state(),
        }
        return {
            **{f"filter.{name}": values for name, values in self.filter_.state_dict().items()},
            **{f"scaler.{name}": values for name, values in self.scaler_.state_dict().items()},
            **self._array_state(),
            "plain": np.array(json.dumps(plain)),
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> Self:
        """Continue from the arrays of :meth:`state_dict` of a learner with the same arguments.

        Raises:
            SzilardError: they are damaged, or of another learner.
        """
        try:
            plain = json.loads(str(state["plain"]))
            of = str(plain["learner"])
            if of != self._setting():
                raise SzilardError(
                    f"the state is of {of}, and this is {self._setting()}; make the same learner"
                )
            self._forget()
            self._start(self._observation_of(plain))
            self.names_.columns = {(str(name), text): i for i, (name, text) in enumerate(plain["columns"])}
            self.names_.kinds = {str(name): str(kind) for name, kind in plain["kinds"].items()}
            if plain["arrays"] is not None:
                self.n_features_in_ = int(plain["arrays"])
            self._load_plain(plain)
            self._load_arrays(state)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SzilardError(
                f"the state of the learner is damaged ({error}); start again without it"
            ) from None
        self.scaler_.load_state_dict(_part(state, "scaler."))
        self._widen()
        self.filter_.load_state_dict(_part(state, "filter."))
        return self

    def _setting(self) -> str:
        """What determines the learner, for files and messages."""
        rule, tracker = self._rules()
        return f"{type(self).__name__} with {rule.setting()}, {tracker.setting()}, {self.belief} belief"

    def _plain_state(self) -> dict[str, Any]:
        """What the subclass remembers besides, as JSON."""
        return {}

    def _array_state(self) -> dict[str, np.ndarray]:
        """What the subclass remembers besides, as arrays."""
        return {}

    @abstractmethod
    def _observation_of(self, plain: dict[str, Any]) -> Observation:
        """The likelihood of a learner with what :meth:`_plain_state` gave."""

    def _load_plain(self, plain: dict[str, Any]) -> None:
        """Take what :meth:`_plain_state` gave."""

    def _load_arrays(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what :meth:`_array_state` gave."""


def _part(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}
