"""Learn the speed of the drift from the rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.adapt.broadening.ornstein_uhlenbeck import OrnsteinUhlenbeck
from szilard.adapt.broadening.rule import Broadening
from szilard.errors import SzilardError

_STEP = 0.05  # of ln η in the difference quotient
_LEAST, _MOST = -20.0, 2.0  # of ln η


class EmpiricalBayes(Broadening):
    """An Ornstein-Uhlenbeck process with g = exp(-η/2), whose η follows the gradient of the log evidence.

    The gradient is that of the last row, and the new η holds from the next row on, so that a row is never used to
    choose the prior under which it is judged. Each hypothesis has an η of its own.

    Args:
        rate: g at the start.
        speed: step of ln η for each row, times the gradient of the log evidence by ln η (at most 1 nat).
    """

    name = "empirical-bayes"
    learns = True

    def __init__(self, rate: float = 0.99, speed: float = 0.1) -> None:
        super().__init__(rate)
        if not 0 < rate < 1:
            raise SzilardError(
                f"the rate at the start must be between 0 and 1, not {rate:g}, to follow a gradient"
            )
        if not speed > 0:
            raise SzilardError(f"speed must be positive, not {speed:g}")
        self.speed = float(speed)
        self._process = OrnsteinUhlenbeck(rate)

    def start(self) -> dict[str, np.ndarray]:
        return {"log_drift": np.array([math.log(-2 * math.log(self.rate))])}

    def setting(self) -> str:
        return f"{self.name}(rate={self.rate:g}, speed={self.speed:g})"

    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        return self._broadened(belief, rates, 0.0)

    def learned(
        self, belief: Belief, rates: np.ndarray, evidence: Callable[[Belief], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """ln η of each hypothesis after a row, ``[K]``; hypotheses with rate 1 keep theirs."""
        now = belief.extra["log_drift"]
        more, less = (evidence(self._broadened(belief, rates, step)) for step in (_STEP, -_STEP))
        gradient = np.clip((more - less) / (2 * _STEP), -1, 1)
        return {"log_drift": np.clip(now + self.speed * np.where(rates < 1, gradient, 0), _LEAST, _MOST)}

    def _broadened(self, belief: Belief, rates: np.ndarray, step: float) -> Belief:
        own = np.exp(-0.5 * np.exp(belief.extra["log_drift"] + step))
        return self._process(belief, np.where(rates < 1, own, 1.0))
