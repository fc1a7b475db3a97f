"""Tensors as matrices, and in pieces of some entries, so that a large one is not copied."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from szilard.file import dtypes

Shape = tuple[int, ...]
SOME = 1 << 16  #: entries that are made at a time


def matrix(shape: Shape) -> tuple[int, int]:
    """Rows and columns of a tensor as a matrix; a vector or a scalar is one row."""
    return (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))


def tiles(rows: int, cols: int) -> Iterator[tuple[int, int, int, int]]:
    """A matrix in row order as tiles of some entries: (first row, last row + 1, first column, last column + 1)."""
    if not rows or not cols:
        return
    tall, wide = max(1, SOME // cols), min(cols, SOME)
    for top in range(0, rows, tall):
        for left in range(0, cols, wide):
            yield top, min(top + tall, rows), left, min(left + wide, cols)


def fill(buffer: np.ndarray, pieces: Iterable[np.ndarray]) -> None:
    """Write pieces one after the other into a flat array of their total size."""
    at = 0
    for piece in pieces:
        buffer[at : at + len(piece)] = piece
        at += len(piece)


def gathered(pieces: Iterable[np.ndarray], shape: Shape, dtype: dtypes.DType) -> np.ndarray:
    """A tensor from pieces of its entries in row order."""
    found = np.empty(math.prod(shape), dtype.carrier)
    fill(found, pieces)
    return found.reshape(shape)


def fit(array: np.ndarray, most: int) -> bool:
    """Whether the magnitudes of all integers are at most ``most``."""
    return not array.size or (int(array.min()) >= -most and int(array.max()) <= most)
