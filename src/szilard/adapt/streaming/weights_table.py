"""Mean and standard deviation of each weight, as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from szilard import spreadsheet
from szilard.adapt.classifier import OnlineClassifier
from szilard.adapt.regressor import OnlineRegressor

_LEAST = 1.05  # shape of the noise for which a variance is given, as in UnknownNoise
CONSTANT = "(constant)"


def of(learner: OnlineClassifier | OnlineRegressor) -> str:
    """The content of ``weights.csv``.

    A weight multiplies (feature - center) / scale; a scale of 0 is that of a feature that was constant. For classes it
    is the change of the log odds of ``class`` against the first class; for numbers it is in the target's units.
    """
    scaler = learner.scaler_
    units: list[tuple[str, Any, Any]] = [(CONSTANT, 0.0, 1.0)]
    for name, center, scale, scaled in zip(
        learner.names_.names(), scaler.center, scaler.scale, scaler.scaled, strict=True
    ):
        units.append((name, center, scale) if scaled else (name, 0.0, 1.0))
    if isinstance(learner, OnlineClassifier):
        mean, std = learner.filter_.weights()
        columns = "feature,class,mean,std,center,scale"
        rows: list[tuple[Any, ...]] = [
            (name, str(label), mean[o, i], std[o, i], center, scale)
            for o, label in enumerate(learner._labels_[1:])
            for i, (name, center, scale) in enumerate(units)
        ]
    else:
        columns = "feature,mean,std,center,scale"
        found = _in_units(learner)
        rows = [
            (name, m, s, center, scale)
            for (name, center, scale), m, s in zip(units, *found, strict=bool(found[0]))
        ]
    return "\n".join([columns, *(",".join(map(_cell, row)) for row in rows)]) + "\n"


def _in_units(learner: OnlineRegressor) -> tuple[list[float], list[float]]:
    """Means and standard deviations in the target's units; none before its scale is known."""
    if learner._scale_ is None:
        return [], []
    center, scale = learner._scale_
    belief = learner.filter_.belief
    shares = np.exp(learner.filter_.tracks.log_weight)
    shape, rate = belief.extra["noise"].T
    noise = rate / (np.maximum(shape, _LEAST) - 1)  # variance, of each hypothesis
    mean = shares @ belief.mean
    variance = shares @ (noise[:, None] * belief.variances() + (belief.mean - mean) ** 2)
    mean = scale * mean
    mean[0] += center
    return mean.tolist(), (scale * np.sqrt(variance)).tolist()


def _cell(value: Any) -> str:
    return spreadsheet.cell(value) if isinstance(value, str) else f"{value:.8g}"
