"""Standardise features by the rows before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from szilard.errors import SzilardError

LIMIT = 10.0  #: standard deviations at which standardised values are cut
_LEAST = 1e-9  # deviation relative to the mean below which a feature counts as constant
_EARLY = 30  # rows with a varying feature after which its units change rarely
_TOLERANCE = 0.05  # change of mean or deviation, in deviations, after which the units follow


class Scaler:
    """(value - mean) / standard deviation, both of the rows before this one (Welford 1962).

    A missing value, or one of a feature that has been constant so far, becomes 0. Values beyond 10 standard deviations
    are cut, in the result and after 30 rows also in mean and deviation, so that a broken sensor does not flatten all
    later values.

    After 30 rows the units of a feature (``center``, ``scale``) follow its mean and deviation only when these have
    changed by 5 % of the deviation, see :meth:`follow`.

    Args:
        features: D.

    Attributes:
        count: values seen of each feature, ``[D]``.
        varied: values seen since the feature varied.
        mean: of all values.
        square: sum of squared deviations from the mean.
        center: what is subtracted.
        scale: what is divided by; 0: the feature has been constant.
        scaled: which features are standardised; 0/1 columns are not.
    """

    def __init__(self, features: int = 0) -> None:
        self.count, self.varied, self.mean, self.square, self.center, self.scale = np.zeros((6, features))
        self.scaled = np.ones(features, dtype=bool)

    def grow(self, features: int, *, scaled: bool = True) -> None:
        """Add features up to this number."""
        more = features - len(self.count)
        for name in ("count", "varied", "mean", "square", "center", "scale"):
            setattr(self, name, np.append(getattr(self, name), np.zeros(more)))
        self.scaled = np.append(self.scaled, np.full(more, scaled))

    def std(self) -> np.ndarray:
        """Standard deviation of each feature so far, ``[D]``; 0 for those that have been constant."""
        std = np.sqrt(self.square / np.maximum(self.count, 1))
        return np.where(std > _LEAST * np.abs(self.mean), std, 0.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Standardised values ``[D]``; NaN stands for a missing one."""
        result = np.zeros(len(values))
        np.divide(values - self.center, self.scale, out=result, where=(self.scale > 0) & self.scaled)
        result = np.where(self.scaled, result, values)
        return np.minimum(np.maximum(np.where(np.isnan(values), 0.0, result), -LIMIT), LIMIT)

    def learn(self, values: np.ndarray) -> None:
        """Add a row ``[D]`` to mean and deviation; NaN stands for a missing value."""
        present = ~np.isnan(values)
        value = np.where(present, values, self.mean)
        std = self.std()
        cut = self.varied >= _EARLY
        value = np.where(
            cut, np.minimum(np.maximum(value, self.mean - LIMIT * std), self.mean + LIMIT * std), value
        )
        self.count = self.count + present
        step = value - self.mean
        self.mean = self.mean + step / np.maximum(self.count, 1)
        self.square = self.square + step * (value - self.mean)

    def follow(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Let the units follow mean and deviation where these have changed.

        Returns:
            ratio and shift of the units of each feature, both ``[D]``: old value = ratio · new value + shift. For
            features that have just begun to vary they are 1 and 0, so that weights at the prior stay there. None if
            nothing is to be carried to the new units.
        """
        std = self.std()
        self.varied = self.varied + (std > 0)
        moved = (np.abs(std - self.scale) > _TOLERANCE * self.scale) | (
            np.abs(self.mean - self.center) > _TOLERANCE * self.scale
        )
        early = self.varied < _EARLY
        moved = (moved | early) & (std > 0) & self.scaled
        if not moved.any():
            return None
        self.center = np.where((std == 0) & self.scaled, self.mean, self.center)
        carried = moved & ~early & (self.scale > 0)
        ratio, shift = np.ones(len(std)), np.zeros(len(std))
        np.divide(std, self.scale, out=ratio, where=carried)
        np.divide(self.mean - self.center, self.scale, out=shift, where=carried)
        self.center, self.scale = np.where(moved, self.mean, self.center), np.where(moved, std, self.scale)
        return (ratio, shift) if carried.any() else None

    def state_dict(self) -> dict[str, np.ndarray]:
        """Its arrays."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from these arrays; raises unless they have one length and are finite."""
        arrays = {name: np.array(state.get(name, np.nan)) for name in vars(self)}
        lengths = {array.shape for array in arrays.values()}
        finite = all(np.isfinite(array).all() for array in arrays.values())
        if len(lengths) != 1 or len(next(iter(lengths))) != 1 or not finite:
            raise SzilardError("the state of the features' means and deviations is damaged")
        for name, array in arrays.items():
            setattr(self, name, array.astype(bool if name == "scaled" else float))
