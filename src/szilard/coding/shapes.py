"""Frequencies of integers under three shapes of distribution, from tables that are shipped: no ``exp`` while coding.

``TAILS`` is a mixture of Laplace distributions: 80 % of scale b, 17 % of 3 b, 2.7 % of 9 b and 0.3 % of 27 b. Errors of
prediction of most fields have such tails; under one Laplace distribution files were 15 % larger. ``LOGISTIC`` and
``GAUSSIAN`` (of standard deviation 2 b) are for fields that are noise.

Scales are quarters of an octave. A wide distribution codes the upper bits of an integer under a table of scale 2 to 4,
and its ``t`` lower bits plainly.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

import numpy as np

from szilard.coding.errors import CodingError

TAILS, LOGISTIC, GAUSSIAN = 0, 1, 2
SHAPES = 3
PER_OCTAVE = 4
LOWEST = -8  #: log2 of the smallest scale
PARTS = ((0.8, 1), (0.17, 3), (0.027, 9), (0.003, 27))  #: shares and widths of the Laplace distributions
RADIUS = 63  #: largest integer in a table
ESCAPE = 2 * RADIUS + 1  #: the symbol for all others
TABLES = 40  #: of each shape
MOST_PLAIN = 29  #: lower bits of an integer
SCALES = TABLES + PER_OCTAVE * MOST_PLAIN  #: number of scales; scale ``k`` is 2^(k/4 - 8)
PRECISION = 16

_SHA256 = "e94e05972c449be1c810a6621bdae1b7e997ce7b94a9f5b52d0f890fe4c9f2e6"


@functools.cache
def frequencies() -> np.ndarray:
    """Of the symbols -63..63 and the escape under each table, int64 ``[120, 128]``; rows sum to 2^16."""
    data = resources.files("szilard.coding").joinpath("shapes.bin").read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise CodingError("szilard's table shapes.bin is damaged; reinstall szilard")
    return np.frombuffer(data, "<u2").reshape(SHAPES * TABLES, 2 * RADIUS + 2).astype(np.int64)


@functools.cache
def starts() -> np.ndarray:
    """Sum of the frequencies before each symbol, int64 ``[120, 128]``."""
    found = np.zeros_like(frequencies())
    found[:, 1:] = frequencies().cumsum(1)[:, :-1]
    return found


@functools.cache
def lookup() -> np.ndarray:
    """The symbol of each of the 2^16 slots, uint8 ``[120, 2^16]``."""
    symbols = np.arange(2 * RADIUS + 2, dtype=np.uint8)
    return np.stack([np.repeat(symbols, row) for row in frequencies()])


@functools.cache
def lengths() -> np.ndarray:
    """Code length of each symbol, float64 ``[120, 128]`` in bits; infinite for symbols outside a table."""
    with np.errstate(divide="ignore"):
        return PRECISION - np.log2(frequencies())


def split(scales: np.ndarray, shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Table and number of plain bits of each scale under a shape, int64."""
    plain = np.maximum(scales - (TABLES - PER_OCTAVE), 0) // PER_OCTAVE
    table = np.where(plain > 0, TABLES - PER_OCTAVE + scales % PER_OCTAVE, scales)
    return shape * TABLES + table, plain


def symbols(values: np.ndarray, scales: np.ndarray, shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers as symbols.

    Args:
        values: int64 ``[N]``.
        scales: ``[N]``, from 0 to ``SCALES`` - 1.

    Returns:
        table ``[N]``, symbol ``[N]`` (0 to 127), upper part ``[N]``, of which the symbol is the sum with 63 unless it
        escapes.
    """
    table, plain = split(scales, shape)
    upper = (values + ((1 << plain) >> 1)) >> plain
    symbol = np.clip(upper, -RADIUS, RADIUS) + RADIUS
    outside = (np.abs(upper) > RADIUS) | (frequencies()[table, symbol] == 0)
    return table, np.where(outside, ESCAPE, symbol), upper


def bits(values: np.ndarray, scales: np.ndarray, shape: int) -> np.ndarray:
    """Code length of each integer at its scale, in bits; an escape is priced as a variable-length integer of bytes."""
    table, symbol, upper = symbols(values, scales, shape)
    escaped = symbol == ESCAPE
    size = np.where(upper < 0, -2 * upper - 1, 2 * upper)
    groups = 1 + sum((size >> (7 * i) > 0).astype(int) for i in range(1, 9))
    return lengths()[table, symbol] + split(scales, shape)[1] + np.where(escaped, 8 * groups, 0)
