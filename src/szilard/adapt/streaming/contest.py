"""A learner and its controls on the same rows: predict first, then learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from szilard.adapt.broadening import Broadening, Temper, TowardsPrior
from szilard.adapt.classifier import OnlineClassifier
from szilard.adapt.regressor import OnlineRegressor
from szilard.adapt.streaming import controls as controls_
from szilard.adapt.streaming.controls import Controls
from szilard.adapt.streaming.persistence import LastLabel, LastNumber
from szilard.adapt.streaming.settings import StreamSettings
from szilard.adapt.trackers import Always, Tracker

PERSISTENCE = "persistence"
_TITLES = {
    "bank": "bank of ten rates",
    "temper": "always temper",
    "bf": "Bayesian forgetting",
    "vcl": "VCL, never forgets",
    "vbs": "VBS, forgets at changes",
    "bocd": "BOCD, resets at changes",
}


class Contest(ABC):
    """Method, persistence, and the controls that are other than the method.

    Attributes:
        names: of the method and its controls, by preset; the method first.
        learner: of the method.
        error: what ``errors`` are, for tables: "accuracy" or "rmse".
    """

    learner: OnlineClassifier | OnlineRegressor
    error: str
    _copy: LastLabel | LastNumber

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        same = {settings.method} if settings.rate in (None, controls_.RATE) else set()
        rest = tuple(name for name in controls_.NAMES if name not in same) if settings.controls else ()
        self._rest = rest
        self.names = (settings.method, *((PERSISTENCE, *rest) if settings.controls else ()))
        self._controls: Controls | None = None

    def titles(self) -> list[str]:
        """What the names mean, for people."""
        found = [_titled(self.settings.method, self.settings.rate)]
        for name in self.names[1:]:
            found.append(self.copying() if name == PERSISTENCE else _titled(name, None))
        return found

    @abstractmethod
    def copying(self) -> str:
        """The title of persistence."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the cells that :meth:`predict` gives."""

    @abstractmethod
    def predict(self, x: Mapping[str, Any]) -> list[float | str | None]:
        """Predict a row from its features; new features join. Returns cells of a table, None where it is not known."""

    @abstractmethod
    def learn(self, target: Any) -> tuple[np.ndarray, np.ndarray]:
        """Learn the row that was predicted last.

        Returns:
            log probability of the target under method and controls before it was learned, ``[M]``, NaN if the row is
            not scored; and their errors ``[M]``: 1 for a wrong class, or the difference to a number.
        """

    @abstractmethod
    def pass_by(self, target: Any) -> None:
        """Take the target of a row that is skipped: persistence copies it, and a new class joins at the prior."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that rows changed."""
        copied = {f"persistence.{name}": values for name, values in self._copy.state_dict().items()}
        return {**self.learner.state_dict(), **self._state_of_controls(), **copied}

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from :meth:`state_dict`; raises SzilardError, ValueError, KeyError or TypeError if damaged."""

    def _follow(self) -> None:
        """Give the controls the features and classes that the learner has."""
        filter_ = self.learner.filter_
        if not self._rest:
            return
        if self._controls is None:
            self._controls = Controls(
                filter_.observation, filter_.features, names=self._rest, belief=self.settings.belief,
                prior_scale=filter_.prior_scale,
            )  # fmt: skip
        else:
            self._controls.grow(features=filter_.features, observation=filter_.observation)
        self.learner.followers_ = [self._controls]

    def _load_learner(self, state: Mapping[str, np.ndarray]) -> None:
        self.learner.load_state_dict(state)
        scaler = self.learner.scaler_
        if len(self.learner.names_) != len(scaler.count) or hasattr(self.learner, "n_features_in_"):
            raise ValueError("features")
        if (scaler.square < 0).any() or (scaler.count < 0).any() or (scaler.scale < 0).any():
            raise ValueError("deviations")

    def _state_of_controls(self) -> dict[str, np.ndarray]:
        if self._controls is None:
            return {}
        return {f"controls.{name}": values for name, values in self._controls.state_dict().items()}

    def _load_controls(self, state: Mapping[str, np.ndarray]) -> None:
        self._follow()
        if self._controls is not None:
            self._controls.load_state_dict(part(state, "controls."))


def part(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The entries whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}


def forgetting(settings: StreamSettings) -> tuple[Broadening | None, Tracker | None]:
    """Rule and tracker for a rate of its own; None: those of the preset."""
    if settings.rate is None:
        return None, None
    rule = Temper(settings.rate) if settings.method == "temper" else TowardsPrior(settings.rate)
    return rule, Always()


def _titled(name: str, rate: float | None) -> str:
    title = _TITLES[name]
    return f"{title}, {controls_.RATE if rate is None else rate:g}" if name in ("temper", "bf") else title


def best(probabilities: Sequence[float] | np.ndarray) -> int:
    """The number of the most probable class, the first of several."""
    return int(np.argmax(probabilities))
