"""Sums of losses of a method and its controls, over all rows and over the last thousand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

WINDOW = 1000  #: rows of the recent figures


class Scores:
    """Log probabilities and errors of M predictors.

    Attributes:
        count: rows that were scored.
        nll: sum of negative log probabilities, ``[M]`` nats.
        square, absolute: sums of squared and absolute errors, ``[M]``; for classes both are numbers of wrong rows.
        recent: losses and errors of the last rows, ``[2, WINDOW, M]``, in a ring.
    """

    def __init__(self, predictors: int) -> None:
        self.count = 0
        self.nll, self.square, self.absolute = np.zeros((3, predictors))
        self.recent = np.zeros((2, WINDOW, predictors))

    def add(self, log_probability: np.ndarray, errors: np.ndarray) -> None:
        """Add a row that is scored, ``[M]`` each."""
        self.recent[0, self.count % WINDOW] = -log_probability
        self.recent[1, self.count % WINDOW] = errors
        self.nll = self.nll - log_probability
        self.square = self.square + errors**2
        self.absolute = self.absolute + np.abs(errors)
        self.count += 1

    def figures(self, *, of_numbers: bool) -> list[dict[str, float]]:
        """For each predictor: ``nll`` (nats a row), ``accuracy`` or ``rmse`` and ``mae``, and the recent ones."""
        kept = min(self.count, WINDOW)
        if not kept:
            return [{} for _ in self.nll]
        losses, errors = self.recent[:, :kept]
        found = []
        for m in range(len(self.nll)):
            one = {"nll": self.nll[m] / self.count, "nll_recent": losses[:, m].mean()}
            if of_numbers:
                one["rmse"] = np.sqrt(self.square[m] / self.count)
                one["mae"] = self.absolute[m] / self.count
                one["rmse_recent"] = np.sqrt((errors[:, m] ** 2).mean())
            else:
                one["accuracy"] = 1 - self.square[m] / self.count
                one["accuracy_recent"] = 1 - errors[:, m].mean()
            found.append({name: float(value) for name, value in one.items()})
        return found

    def state_dict(self) -> dict[str, np.ndarray]:
        return {
            "count": np.array(self.count),
            "sums": np.stack((self.nll, self.square, self.absolute)),
            "recent": self.recent,
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue; raises ValueError if the arrays are damaged."""
        count, sums, recent = int(state["count"]), state["sums"], state["recent"]
        if count < 0 or sums.shape != (3, len(self.nll)) or recent.shape != self.recent.shape:
            raise ValueError("scores")
        if not all(one.dtype == float and np.isfinite(one).all() for one in (sums, recent)):
            raise ValueError("scores")
        self.count, self.recent = count, recent
        self.nll, self.square, self.absolute = sums
