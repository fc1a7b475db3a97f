"""The seconds of a whole network from those of its layers, fitted to networks that were really measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_PRIOR = 0.05  # weight of "a layer costs what its row says" beside a measured network
_OBSERVED = 4.0  # weight of a candidate of the search beside a network of the calibration
_NEAR = 0.2  # relative difference of the seconds of layers at which a candidate says little of another one


@dataclass(frozen=True)
class Parts:
    """What the seconds of a network are made of.

    Attributes:
        layers: sum of the table's rows, seconds.
        rounded: number of values that are brought from float32 to integers or back between operations.
        switched: number of values that layers read whose bits are not those of the layer called before: the runtime
            keeps floats and integers in different layouts, too.
    """

    layers: float
    rounded: float
    switched: float = 0.0


class LatencyFit:
    """T = a + b · (seconds of the layers) + c · rounded + d · switched values, with a, b, c, d ≥ 0; see :class:`Parts`.

    What the rows leave out: the call of the runtime, operations without weights, and changes of the layout between
    layers of different types. Least squares of relative errors, with a weak prior b = 1. A search asks for networks of
    about the same seconds: what is left of the errors of candidates near a network is corrected, too.
    """

    def __init__(self) -> None:
        self._points: list[tuple[Parts, float, float]] = []
        self._coefficients: np.ndarray | None = None
        self._errors: list[
            float
        ] = []  # relative, of candidates as they were predicted before they were measured

    def calibrate(self, parts: Parts, seconds: float) -> None:
        """Add a network that was measured to fit."""
        self._points.append((parts, seconds, 1.0))
        self._coefficients = None

    def observe(self, parts: Parts, seconds: float) -> None:
        """Add a candidate that was predicted and then measured; its error is remembered."""
        self._errors.append(self.predict(parts) / seconds - 1)
        self._points.append((parts, seconds, _OBSERVED))
        self._coefficients = None

    def predict(self, parts: Parts) -> float:
        """Seconds of a network."""
        found = self._global(parts)
        near, error = 1.0, 0.0  # as if one candidate without an error were near
        for other, seconds, weight in self._points:
            if weight == _OBSERVED:
                distance = (parts.layers - other.layers) / (_NEAR * max(other.layers, parts.layers, 1e-12))
                likeness = float(np.exp(-0.5 * distance**2))
                near, error = near + likeness, error + likeness * (seconds / self._global(other) - 1)
        return found * (1 + error / near)

    def _global(self, parts: Parts) -> float:
        if self._coefficients is None:
            self._coefficients = _fitted(self._points)
        return max(float(_row(parts) @ self._coefficients), 1e-9)

    @property
    def coefficients(self) -> tuple[float, float, float, float]:
        """a in seconds, b, and c and d in seconds per value."""
        a, b, c, d = (float(one) for one in _fitted(self._points))
        return a, b, c, d

    @property
    def error_percent(self) -> float | None:
        """Mean absolute error on networks that did not fit the coefficients, percent; None: too few were measured.

        Of the calibration each network is left out once; a candidate counts as it was predicted before it was measured.
        """
        errors = list(self._errors)
        fitted = [point for point in self._points if point[2] == 1.0]
        if len(fitted) > 4:
            for number, (parts, seconds, _) in enumerate(fitted):
                others = fitted[:number] + fitted[number + 1 :]
                errors.append(float(_row(parts) @ _fitted(others)) / seconds - 1)
        return 100 * float(np.mean(np.abs(errors))) if errors else None


def _row(parts: Parts) -> np.ndarray:
    return np.array([1.0, parts.layers, parts.rounded, parts.switched])


def _fitted(points: Sequence[tuple[Parts, float, float]]) -> np.ndarray:
    from scipy.optimize import nnls

    if not points:
        return np.array([0.0, 1.0, 0.0, 0.0])
    rows = np.array([_row(parts) for parts, _, _ in points])
    seconds, weights = (np.array([point[i] for point in points]) for i in (1, 2))
    scale = weights**0.5 / seconds
    per_value = seconds.mean() / np.maximum(rows[:, 2:].max(0), 1.0)
    units = np.array([seconds.mean(), 1.0, *per_value])  # coefficients of about the same size
    prior = _PRIOR * np.array([0.0, 1.0, 0.0, 0.0])
    matrix = np.vstack([rows * scale[:, None] * units, prior])
    found, _ = nnls(matrix, np.append(weights**0.5, _PRIOR))
    return np.asarray(found * units)
