"""Waves along an axis as integers: cosines, or a Fourier series where the axis goes around; the same everywhere."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

SHIFT = 16  #: entries of a basis are in 2^-SHIFT
MOST_WAVES = 256  #: along one axis
MOST_LENGTH = 1 << 20  #: of an axis
_FINE = 30  # fraction bits of the series
_SERIES = (1, 2, 24, 720, 40320, 3628800, 479001600)  # (2 n)!
_HALF_PI = 7074237752028440  # pi / 2 in 2^-52


@dataclass(frozen=True, eq=False)
class Waves:
    """The first waves along an axis, each with amplitude 1.

    Attributes:
        values: float64 ``[waves, length]`` that hold integers, in 2^-SHIFT.
        half_cycles: of each wave along the axis, int64 ``[waves]``.
        doubled: 1 where the mean square is a half, 0 where it is one, int64 ``[waves]``.
    """

    values: np.ndarray
    half_cycles: np.ndarray
    doubled: np.ndarray


@functools.lru_cache(maxsize=16)
def waves(length: int, count: int, around: bool) -> Waves:
    """The first ``count`` waves of an axis.

    Args:
        length: of the axis, at most ``MOST_LENGTH``.
        count: of waves, at most ``length`` and ``MOST_WAVES``.
        around: Fourier series (constant, cosine, sine, cosine of two cycles, ...); otherwise the cosines of the DCT-II.
    """
    wave, place = np.arange(count, dtype=np.int64)[:, None], np.arange(length, dtype=np.int64)
    if around:
        half_cycles = (wave[:, 0] + 1) // 2 * 2
        turns = 4 * (half_cycles[:, None] // 2) * place - np.where((wave > 0) & (wave % 2 == 0), length, 0)
        single = (wave[:, 0] == 0) | (half_cycles == length)
    else:
        half_cycles = wave[:, 0]
        turns = wave * (2 * place + 1)
        single = half_cycles == 0
    values = cosine(turns % (4 * length), length).astype(np.float64)
    values.flags.writeable = False
    return Waves(values, half_cycles, (~single).astype(np.int64))


def cosine(quarters: np.ndarray, length: int) -> np.ndarray:
    """cos(pi/2 · m / length) in 2^-SHIFT for integers ``m`` from 0 to 4 · length - 1, int64; within 0.51 of a unit.

    Sums and products of integers below 2^63 alone. An angle is reduced to an eighth of a turn, where seven terms of the
    series of cosine and sine leave less than 2^-37. What is cut off before adds up to less than 8 units of 2^-30.
    """
    m = np.where(quarters > 2 * length, 4 * length - quarters, quarters)
    negative = m > length
    m = np.where(negative, 2 * length - m, m)  # first quarter
    near = 2 * m <= length
    angle = ((np.where(near, m, length - m) << _FINE) // length * (_HALF_PI >> (52 - _FINE))) >> _FINE
    square = (angle * angle) >> _FINE
    cos = _horner(square, _SERIES)
    sin = (angle * _horner(square, tuple(f * (2 * n + 1) for n, f in enumerate(_SERIES)))) >> _FINE
    fine = np.where(near, cos, sin)
    found = (fine + (1 << (_FINE - SHIFT - 1))) >> (_FINE - SHIFT)
    return np.where(negative, -found, found)


def _horner(square: np.ndarray, factorials: tuple[int, ...]) -> np.ndarray:
    """The sum of (-square)^n / factorials[n], in 2^-_FINE."""
    total = np.zeros_like(square)
    for n in range(len(factorials) - 1, -1, -1):
        term = ((1 << _FINE) + factorials[n] // 2) // factorials[n]
        total = (-term if n % 2 else term) + ((total * square) >> _FINE)
    return total
