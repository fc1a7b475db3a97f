"""What predicts a value of a field: integers from the known values around it and from earlier slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from szilard.codec.grid import NEIGHBOURS, Pass

PREVIOUS = 2  #: earlier slices that a slice uses
ANCHOR = NEIGHBOURS + PREVIOUS
LINEAR = ANCHOR + 1
INPUTS = LINEAR + 8
ONE = 256  #: 1 as an input of the network
MOST = 4095  #: largest input and activation
FAR = 1 << 30  #: larger differences are cut
LEAST_SPREAD = 256  #: in units of the lattice, of which the bound is 512


@dataclass(frozen=True)
class Features:
    """Of M values; all are int64.

    Attributes:
        middle: mean of the four nearest neighbours ``[M]``.
        differences: of neighbours from it, of earlier slices from their own middle, and of the mean of the coarse grid,
            ``[LINEAR, M]``.
        exponent: number of bits of the mean absolute difference, ``[M]``.
        spread: its log2 in 256ths, ``[M]``.
        inputs: of the network, ``[INPUTS, M]``.
    """

    middle: np.ndarray
    differences: np.ndarray
    exponent: np.ndarray
    spread: np.ndarray
    inputs: np.ndarray


def features(
    known: np.ndarray, step: Pass, earlier: tuple[np.ndarray, ...], place: int, anchor: int
) -> Features:
    """Features of the targets of a pass.

    Args:
        known: the slice so far, flattened, int64.
        step: the pass.
        earlier: earlier slices, flattened; at most ``PREVIOUS``.
        place: of the slice along its last axis, 0 to 256.
        anchor: mean of the coarse grid of the slice.
    """
    around = known[step.neighbours]
    count = len(step.targets)
    middle = around[:4].sum(0) >> 2
    differences = np.zeros((LINEAR, count), np.int64)
    differences[: len(around)] = np.clip(around - middle, -FAR, FAR)
    sizes = np.abs(differences)
    near, spread = (np.maximum(total, LEAST_SPREAD) for total in (sizes[:4].sum(0) >> 2, sizes.sum(0) >> 4))
    exponent = bit_length(spread)
    for n, slice_ in enumerate(earlier):
        other = slice_[step.neighbours[:4]].sum(0) >> 2
        differences[NEIGHBOURS + n] = np.clip(slice_[step.targets] - other, -FAR, FAR)
    differences[ANCHOR] = np.clip(anchor - middle, -FAR, FAR)
    inputs = np.empty((INPUTS, count), np.int64)
    inputs[:LINEAR] = (differences << 8) >> exponent
    log_spread = log2(spread)
    inputs[LINEAR] = (log2(near) - 3328) >> 1
    inputs[LINEAR + 1] = (log_spread - 3328) >> 1
    inputs[LINEAR + 2] = step.latitude
    for kind in range(3):
        inputs[LINEAR + 3 + kind] = ONE if step.kind == kind else 0
    inputs[LINEAR + 6] = step.level * (ONE // 2)
    inputs[LINEAR + 7] = place
    return Features(middle, differences, exponent, log_spread, np.clip(inputs, -MOST, MOST))


def bit_length(values: np.ndarray) -> np.ndarray:
    """Number of bits of positive integers below 2^53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def log2(values: np.ndarray) -> np.ndarray:
    """log2 of integers from 1 to 2^40 in 256ths, linear between powers of two: of integers alone."""
    bits = bit_length(values)
    fraction = (values << 8 >> (bits - 1)) - 256
    return ((bits - 1) << 8) + fraction
