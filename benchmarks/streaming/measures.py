"""Figures of predictions that were made before their rows were learned."""

from __future__ import annotations

import math

import numpy as np

LEAST = (
    1e-6  #: Probabilities are cut to [LEAST, 1 - LEAST] before a logarithm is taken, for all methods alike.
)


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


def block_means(values: np.ndarray, size: int) -> np.ndarray:
    """Means of blocks of consecutive values; a last block that is not full is left out."""
    count = len(values) // size
    return np.asarray(values[: count * size].reshape(count, size).mean(1))


def standard_error(blocks: np.ndarray) -> float:
    """Standard error of the mean of dependent values, from the means of their blocks; NaN for fewer than two."""
    return float(blocks.std(ddof=1) / math.sqrt(len(blocks))) if len(blocks) > 1 else math.nan


def found_changes(found: list[int], true: list[int], tolerance: int) -> int:
    """How many true changes have a found one within ``tolerance`` rows.

    A found change accounts for one true one at most, and a true change takes the nearest.
    """
    left = sorted(found)
    matches = 0
    for change in sorted(true):
        near = [row for row in left if abs(row - change) <= tolerance]
        if near:
            left.remove(min(near, key=lambda row: abs(row - change)))
            matches += 1
    return matches
