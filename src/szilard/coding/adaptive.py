"""The adaptive model of levels in Python: the reference, used if there are no C++ kernels.

A level ``k`` becomes binary decisions: ``k != 0``, sign, ``|k| > 1``, ..., ``|k| > 14``, then Exp-Golomb of ``|k| -
15`` (a number of bits in unary, and those bits). :mod:`szilard.coding.range_coder` codes each decision in its context.

``csrc/coding/levels.hpp`` is the same in C++, with its coder about a hundred times faster.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from szilard.coding.errors import CodingError
from szilard.coding.range_coder import BitCoder, Contexts, RangeDecoder

LONGEST_RUN = 14
LONGEST_PREFIX = 23
LARGEST = (1 << 23) - 1
"""Largest magnitude of an integer that is coded."""

NEIGHBOURS, HISTORY, MASK = range(3)
MODELS = 3

# Offsets of a model's contexts: zero [192], sign [9], more [4][14], prefix [24].
SIGN = 192
MORE = SIGN + 9
PREFIX = MORE + 4 * LONGEST_RUN
MODEL = PREFIX + LONGEST_PREFIX + 1
CONTEXTS = MODELS * MODEL

_SIZES = (1, 2, 3, 5, 7, 10, 15)
_SHARES = (32, 96, 224, 448, 896, 1600, 2800)
_START = {NEIGHBOURS: 256, HISTORY: 256, MASK: 512}


def fresh_contexts() -> Contexts:
    """The contexts of all models at the beginning of a stream."""
    return Contexts(CONTEXTS)


def matrix(
    coder: BitCoder, contexts: Contexts, model: int, rows: int, cols: int, levels: Sequence[int] | None = None
) -> array[int]:
    """Code a matrix row by row: ``levels [rows * cols]`` to encode, None to decode; returns the levels."""
    column = array("i")  # grows with the first row: a damaged file can claim more columns than it has
    found = array("i")
    for r in range(rows if cols else 0):
        row = _START[model]
        left = left2 = 0
        for c in range(cols):
            at = r * cols + c
            if r == 0:
                column.append(_START[model])
            above = found[at - cols] if r else 0
            given = 0 if levels is None else levels[at]
            level = _level(coder, contexts, model, (left, left2, above, column[c], row), given)
            found.append(level)
            size = abs(level)
            if model == MASK:
                column[c] += ((size << 12) - column[c]) >> 4
                row += ((size << 12) - row) >> 5
            else:
                seen = min(size, 64) << 8
                column[c] += (seen - column[c]) >> 2
                row += (seen - row) >> 3
            left, left2 = level, left
            if (c & 4095 == 4095 or c == cols - 1) and isinstance(coder, RangeDecoder) and coder.ended:
                raise CodingError("the coded levels end too early; the file is damaged")
    return found


def _level(
    coder: BitCoder, contexts: Contexts, model: int, near: tuple[int, int, int, int, int], level: int
) -> int:
    left, left2, above, column, row = near
    size = abs(level)
    base = model * MODEL
    if model == NEIGHBOURS:
        zero = _sign(left) * 3 + min(min(abs(left), 2) + min(abs(left2), 2), 2)
    elif model == HISTORY:
        zero = (bisect_right(_SIZES, column * 3 >> 8) * 8 + bisect_right(_SIZES, row * 3 >> 8)) * 3 + _sign(
            left
        )
    else:
        zero = (bisect_right(_SHARES, column) * 8 + bisect_right(_SHARES, row)) * 3
        zero += (left != 0) + (above != 0)
    if not coder.bit(contexts, base + zero, size != 0):
        return 0
    if model == MASK:
        return 1
    negative = coder.bit(contexts, base + SIGN + _sign(left) * 3 + _sign(above), level < 0)
    around = abs(left) + abs(left2)
    more = base + MORE + LONGEST_RUN * (0 if around == 0 else 1 if around <= 2 else 2 if around <= 6 else 3)
    found = 1
    while found <= LONGEST_RUN and coder.bit(contexts, more + found - 1, size > found):
        found += 1
    if found > LONGEST_RUN:
        rest = size - LONGEST_RUN
        bits = 0
        while coder.bit(contexts, base + PREFIX + bits, rest >> bits > 1):
            bits += 1
            if bits > LONGEST_PREFIX:
                raise CodingError("the coded levels contain one that is too large; the file is damaged")
        suffix = 1
        for place in range(bits - 1, -1, -1):
            suffix = suffix << 1 | coder.plain(bool(rest >> place & 1))
        found = suffix + LONGEST_RUN
        if found > LARGEST:
            raise CodingError("the coded levels contain one that is too large; the file is damaged")
    return -found if negative else found


def _sign(k: int) -> int:
    return (k > 0) - (k < 0) + 1
