"""Mean and standard deviation of each weight, as a table."""

from __future__ import annotations

import numpy as np

from szilard import spreadsheet
from szilard.adapt.classifier import OnlineClassifier
from szilard.adapt.regressor import OnlineRegressor

_LEAST = 1.05  # shape of the noise for which a variance is given, as in UnknownNoise


def of(learner: OnlineClassifier | OnlineRegressor) -> str:
    """The content of ``weights.csv``.

    Features are in units of their standard deviation. For classes a weight is the change of the log odds of ``class``
    against the first class; for numbers it is in the target's units.
    """
    names = ["(constant)"] * learner.bias + learner.names_.names()
    if isinstance(learner, OnlineClassifier):
        mean, std = learner.filter_.weights()
        rows = [
            (name, label, mean[o, i], std[o, i])
            for o, label in enumerate(learner._labels_[1:])
            for i, name in enumerate(names)
        ]
        columns = "feature,class,mean,std"
        lines = [
            f"{spreadsheet.cell(n)},{spreadsheet.cell(str(c))},{_shown(m)},{_shown(s)}" for n, c, m, s in rows
        ]
    else:
        means, stds = _in_units(learner)
        columns = "feature,mean,std"
        lines = [
            f"{spreadsheet.cell(n)},{_shown(m)},{_shown(s)}"
            for n, m, s in zip(names, means, stds, strict=True)
        ]
    return "\n".join([columns, *lines]) + "\n"


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


def _shown(value: float) -> str:
    return f"{value:.8g}"
