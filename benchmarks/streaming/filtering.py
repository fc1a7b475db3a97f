"""Runs a filter over rows: each is predicted before it is learned."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from szilard.adapt import Filter


@dataclass(frozen=True)
class Filtered:
    """What a filter predicted.

    Attributes:
        predictions: mean and variance, or probabilities of both classes, ``[N, 2]``.
        loss: -ln p(target), nats, ``[N]``.
        found: rows at which changes were dated.
        seconds: of processor time, for predicting and learning.
    """

    predictions: np.ndarray
    loss: np.ndarray
    found: list[int]
    seconds: float


def filtered(one: Filter, x: np.ndarray, y: np.ndarray) -> Filtered:
    """Predict and learn rows in their order.

    Args:
        one: the filter.
        x: features, ``[N, D]``.
        y: targets, ``[N]``.
    """
    predictions, loss, found = np.zeros((len(y), 2)), np.zeros(len(y)), []
    targets: list[Any] = y.tolist()
    started = time.process_time()
    for row, target in enumerate(targets):
        predictions[row] = one.predict(x[row])
        loss[row] = -one.learn(x[row], target)
        if one.found is not None:
            found.append(one.found.row)
    return Filtered(predictions, loss, found, time.process_time() - started)
