"""Standardise features by the rows before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from szilard.errors import SzilardError

LIMIT = 10.0  #: standard deviations at which standardised values are cut
_LEAST = 1e-9  # deviation relative to the mean below which a feature counts as constant
_CUT_FROM = 30  # rows after which an outlier is cut before it enters mean and deviation


class Scaler:
    """(value - mean) / standard deviation, both of the rows before this one (Welford 1962).

    A missing value, or one of a feature that has been constant so far, becomes 0. Values beyond 10 standard deviations
    are cut, in the result and after 30 rows also in mean and deviation, so that a broken sensor does not flatten all
    later values.

    Args:
        features: D.

    Attributes:
        count: values seen of each feature, ``[D]``.
        mean: of them.
        square: sum of squared deviations from the mean.
        scaled: which features are standardised; 0/1 columns are not.
    """

    def __init__(self, features: int = 0) -> None:
        self.count = np.zeros(features)
        self.mean = np.zeros(features)
        self.square = np.zeros(features)
        self.scaled = np.ones(features, dtype=bool)

    def grow(self, features: int, *, scaled: bool = True) -> None:
        """Add features up to this number."""
        more = features - len(self.count)
        self.count, self.mean, self.square = (
            np.append(values, np.zeros(more)) for values in (self.count, self.mean, self.square)
        )
        self.scaled = np.append(self.scaled, np.full(more, scaled))

    def std(self) -> np.ndarray:
        """Standard deviation of each feature so far, ``[D]``; 0 for those that have been constant."""
        std = np.sqrt(self.square / np.maximum(self.count, 1))
        return np.where(std > _LEAST * np.abs(self.mean), std, 0.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Standardised values ``[D]``; NaN stands for a missing one."""
        std = self.std()
        known = std > 0
        result = np.zeros(len(values))
        np.divide(values - self.mean, std, out=result, where=known & self.scaled)
        result[~self.scaled] = values[~self.scaled]
        return np.clip(np.where(np.isnan(values), 0.0, result), -LIMIT, LIMIT)

    def learn(self, values: np.ndarray) -> None:
        """Add a row ``[D]`` to mean and deviation; NaN stands for a missing value."""
        present = ~np.isnan(values)
        value = np.where(present, values, 0.0)
        std = self.std()
        cut = (self.count >= _CUT_FROM) & (std > 0)
        value = np.where(cut, np.clip(value, self.mean - LIMIT * std, self.mean + LIMIT * std), value)
        self.count = self.count + present
        step = np.where(present, value - self.mean, 0.0)
        self.mean = self.mean + step / np.maximum(self.count, 1)
        self.square = self.square + step * np.where(present, value - self.mean, 0.0)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Its arrays."""
        return {"count": self.count, "mean": self.mean, "square": self.square, "scaled": self.scaled}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from these arrays; raises unless they have one length and are finite."""
        arrays = {name: np.array(state.get(name, np.nan)) for name in self.state_dict()}
        lengths = {array.shape for array in arrays.values()}
        if (
            len(lengths) != 1
            or len(next(iter(lengths))) != 1
            or not all(np.isfinite(array).all() for array in arrays.values())
        ):
            raise SzilardError("the state of the features' means and deviations is damaged")
        self.count, self.mean, self.square = (
            arrays[name].astype(float) for name in ("count", "mean", "square")
        )
        self.scaled = arrays["scaled"].astype(bool)
