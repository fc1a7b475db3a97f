"""The learners as estimators of river, for its pipelines, metrics and evaluation."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from szilard.adapt.classifier import OnlineClassifier
from szilard.adapt.regressor import OnlineRegressor
from szilard.errors import SzilardError

try:
    from river import base
except ImportError as missing:
    raise SzilardError(
        "szilard.adapt.river needs river; install it with: pip install 'szilard[river]'"
    ) from missing


class RiverClassifier(base.Classifier):  # type: ignore[misc, unused-ignore]
    """:class:`~szilard.adapt.OnlineClassifier` in river.

    Args:
        preset: how it forgets: ``"bank"``, ``"vcl"``, ``"temper"``, ``"bf"``, ``"vbs"`` or ``"bocd"``.
        belief: ``"full"``, or ``"diagonal"`` for many features.
        prior_scale: standard deviation of the weights before the first row.
        standardise: use features in units of their standard deviation over the rows before.
    """

    def __init__(
        self, preset: str = "bank", belief: str = "full", prior_scale: float = 1.0, standardise: bool = True
    ) -> None:
        self.preset, self.belief, self.prior_scale, self.standardise = (
            preset,
            belief,
            prior_scale,
            standardise,
        )
        self._model = OnlineClassifier(
            preset, belief=belief, prior_scale=prior_scale, standardise=standardise
        )

    @property
    def _multiclass(self) -> bool:
        return True

    def learn_one(self, x: dict[Any, Any], y: Hashable) -> None:
        """Learn a row and its class."""
        self._model.learn_one(x, y)

    def predict_proba_one(self, x: dict[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Probabilities by class."""
        return dict(self._model.predict_proba_one(x))


class RiverRegressor(base.Regressor):  # type: ignore[misc, unused-ignore]
    """:class:`~szilard.adapt.OnlineRegressor` in river.

    Args:
        preset: how it forgets: ``"bank"``, ``"vcl"``, ``"temper"``, ``"bf"``, ``"vbs"`` or ``"bocd"``.
        noise: standard deviation of the noise in the target's units; None: unknown.
        belief: ``"full"``, or ``"diagonal"`` for many features.
        prior_scale: standard deviation of the weights before the first row: in units of the noise if that is unknown,
            of the target's scale otherwise.
        standardise: use features in units of their standard deviation over the rows before.
    """

    def __init__(
        self,
        preset: str = "bank",
        noise: float | None = None,
        belief: str = "full",
        prior_scale: float = 3.0,
        standardise: bool = True,
    ) -> None:
        self.preset, self.noise = preset, noise
        self.belief, self.prior_scale, self.standardise = belief, prior_scale, standardise
        self._model = OnlineRegressor(
            preset, noise=noise, belief=belief, prior_scale=prior_scale, standardise=standardise
        )

    def learn_one(self, x: dict[Any, Any], y: float) -> None:
        """Learn a row and its target."""
        self._model.learn_one(x, y)

    def predict_one(self, x: dict[Any, Any]) -> float:
        """The mean of the target."""
        return self._model.predict_one(x)

    def predict_moments_one(self, x: dict[Any, Any]) -> tuple[float, float]:
        """Mean and standard deviation of the target."""
        return self._model.moments_one(x)
