"""Copy the last target: the control that learns nothing from features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import gammaln

_SMOOTHING = 0.5  # of a transition that has not been seen (Krichevsky and Trofimov 1981)
_HUGE = 1e150  # a difference of targets in units of their scale whose square is finite
_LEAST = 1.05  # shape of the noise for which a variance is given, as in UnknownNoise


class LastLabel:
    """The last class, with the frequencies of past transitions as probabilities.

    From class a, class b follows with the probability (n_ab + 1/2) / (n_a + C/2), where n counts the rows so far and C
    classes have occurred. So it is a fair predictor, which can be right or wrong with a probability; its answer is the
    last class itself.

    Attributes:
        counts: of transitions, ``[C, C]``.
        last: number of the last class; -1 before the first row.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((0, 0))
        self.last = -1

    def predict(self) -> np.ndarray:
        """Probabilities of the classes that have occurred, ``[C]``."""
        if self.last < 0:
            return np.empty(0)
        found = self.counts[self.last] + _SMOOTHING
        return np.asarray(found / found.sum())

    def learn(self, label: int) -> None:
        """Learn the number of a class; a new one is the next number."""
        more = label + 1 - len(self.counts)
        if more > 0:
            self.counts = np.pad(self.counts, (0, more))
        if self.last >= 0:
            self.counts[self.last, label] += 1
        self.last = label

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"counts": self.counts, "last": np.array(self.last)}

    def load_state_dict(self, state: dict[str, np.ndarray], classes: int) -> None:
        """Continue; raises ValueError if the arrays do not fit the number of classes."""
        counts, last = state["counts"].astype(float), int(state["last"])
        fits = counts.shape == (classes, classes) and -1 <= last < max(classes, 1)
        if not fits or not ((counts >= 0) & np.isfinite(counts)).all():
            raise ValueError("transitions")
        self.counts, self.last = counts, last


class LastNumber:
    """The last number, with the past differences of neighbouring rows as its uncertainty.

    Differences are normal with mean zero and an unknown variance, whose prior counts as one row at the target's scale;
    so predictions are Student's t.

    Attributes:
        last: the last target; NaN before the first.
        scale: of the target; NaN before it is known.
        shape, rate: of the inverse gamma distribution of the variance, in units of the scale.
        early: targets that wait until the scale is known.
    """

    def __init__(self) -> None:
        self.last = math.nan
        self.scale = math.nan
        self.shape, self.rate = 0.5, 0.5
        self.early: list[float] = []

    def start(self, scale: float) -> None:
        """Take the target's scale, and learn the targets that waited for it."""
        self.scale = scale
        early, self.early = self.early, []
        for target in early:
            self.learn(target)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation."""
        return self.last, self.scale * math.sqrt(self.rate / (max(self.shape, _LEAST) - 1))

    def log_density(self, target: float) -> float:
        """Of the next target, in nats."""
        step = (target - self.last) / self.scale
        surprise = step * step / (2 * self.rate)
        return float(
            gammaln(self.shape + 0.5)
            - gammaln(self.shape)
            - 0.5 * math.log(2 * math.pi * self.rate)
            - (self.shape + 0.5) * math.log1p(surprise)
            - math.log(self.scale)
        )

    def learn(self, target: float) -> None:
        """Learn the next target, or let it wait for the scale."""
        if not math.isfinite(self.scale):
            self.early.append(target)
            return
        if math.isfinite(self.last):
            self.shape += 0.5
            step = (target - self.last) / self.scale
            self.rate += 0.5 * step * step
        self.last = target

    def state_dict(self) -> dict[str, np.ndarray]:
        numbers = np.array([self.last, self.scale, self.shape, self.rate])
        return {"numbers": numbers, "early": np.array(self.early, dtype=float)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue; raises ValueError if the array is damaged."""
        last, scale, shape, rate = state["numbers"].astype(float).tolist()
        known = math.isfinite(scale)
        if (
            not (0.5 <= shape < math.inf and 0 < rate < _HUGE**2)
            or (known and not scale > 0)
            or math.isinf(scale)
        ):
            raise ValueError("differences")
        if known != math.isfinite(last) or (known and not abs(last) < _HUGE * scale):
            raise ValueError("differences")
        early = state["early"].astype(float)
        if early.ndim != 1 or not np.isfinite(early).all() or (known and len(early)):
            raise ValueError("differences")
        self.last, self.scale, self.shape, self.rate = last, scale, shape, rate
        self.early = early.tolist()
