"""Figures of predictions that were made before their rows were learned."""

from __future__ import annotations

import math

import numpy as np

LEAST = 1e-6  #: Probabilities are cut to [LEAST, 1 - LEAST] before a logarithm is taken, for all methods alike.


def mcae(error: np.ndarray) -> float:
    """Mean cumulative absolute error: the mean over rows of the running mean of the absolute error."""
    return float(np.mean(np.cumsum(error) / np.arange(1, len(error) + 1)))


def nll(positive: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """-ln p(label) of each row, nats, from the probabilities of class 1."""
    cut = np.clip(positive, LEAST, 1 - LEAST)
    return np.asarray(-np.log(np.where(labels == 1, cut, 1 - cut)))


def accuracy(positive: np.ndarray, labels: np.ndarray) -> float:
    """Share of rows whose more probable class is right."""
    return float(np.mean((positive > 0.5) == (labels == 1)))


def block_error(values: np.ndarray, size: int) -> float:
    """Standard error of the mean of dependent values, from the means of blocks of consecutive values.

    A last block that is not full is left out.
    """
    count = len(values) // size
    if count < 2:
        return math.nan
    means = values[: count * size].reshape(count, size).mean(1)
    return float(means.std(ddof=1) / math.sqrt(count))


def found_changes(found: list[int], true: list[int], tolerance: int) -> tuple[int, int, int]:
    """How many found changes are within ``tolerance`` rows of a true one, how many true ones were found, and both.

    Each true change accounts for one found change at most, the nearest.

    Returns:
        matches, number found, number of true changes.
    """
    left = sorted(found)
    matches = 0
    for change in sorted(true):
        near = [row for row in left if abs(row - change) <= tolerance]
        if near:
            left.remove(min(near, key=lambda row: abs(row - change)))
            matches += 1
    return matches, len(found), len(true)
