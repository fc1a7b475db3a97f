"""The adaptive model and its binary range coder in Python: the reference, used if there are no C++ kernels.

A level ``k`` becomes binary decisions: ``k != 0``, sign, ``|k| > 1``, ..., ``|k| > 14``, then Exp-Golomb of ``|k| -
15`` (a number of bits in unary, and those bits). Each decision has a context, an estimate of its probability in units
of 2^-16 that adapts to the decisions seen in this context. The coder is a 32-bit range coder in integer arithmetic
(Martin 1979).

``csrc/coding/levels.hpp`` and ``csrc/coding/range_coder.hpp`` are the same in C++, about a hundred times faster.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from szilard.coding.errors import CodingError

LIMIT = 96  # a context has a running mean over this many decisions once it has seen as many
LEAST = 64  # no decision gets a probability below 64 / 65536
LONGEST_RUN = 14
LONGEST_PREFIX = 23
LARGEST = (1 << 23) - 1
"""Largest magnitude of an integer that is coded."""
BEYOND = 4  # zero bytes at the end of a stream that are not written
TRUNCATION = math.log2(
    257 / 256
)  # bits that a decision can cost above -log2 of its probability (range_coder.hpp)

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
_FULL = 0xFFFFFFFF
_SMALL = 1 << 24


class Contexts:
    """Estimates of P(bit = 1), and how many decisions each has seen."""

    def __init__(self) -> None:
        self.one = [1 << 15] * CONTEXTS
        self.count = [0] * CONTEXTS

    def see(self, place: int, bit: bool) -> None:
        """Move an estimate towards ``bit`` by 1 / (count + 1.5)."""
        count = self.count[place]
        share = 131072 // (2 * count + 3)
        moved = self.one[place] + (((65535 if bit else 0) - self.one[place]) * share >> 16)
        self.one[place] = min(65536 - LEAST, max(LEAST, moved))
        if count < LIMIT:
            self.count[place] = count + 1


class BitCoder(Protocol):
    """Codes each decision: an encoder returns the bit that it is given, a decoder the bit that it reads."""

    def bit(self, contexts: Contexts, place: int, value: bool) -> bool: ...

    def plain(self, value: bool) -> bool: ...


class RangeEncoder:
    """Decisions to bytes."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._low, self._range = 0, _FULL
        self._held: int | None = None  # the last byte that a carry can still change
        self._pending = 0  # 0xFF bytes after it

    def bit(self, contexts: Contexts, place: int, value: bool) -> bool:
        bound = (self._range >> 16) * contexts.one[place]
        if value:
            self._range = bound
        else:
            self._low += bound
            self._range -= bound
        self._renormalise()
        contexts.see(place, value)
        return value

    def plain(self, value: bool) -> bool:
        self._range >>= 1
        if value:
            self._low += self._range
        self._renormalise()
        return value

    def finish(self) -> bytes:
        """The bytes, ended by the number in the remaining interval that has most trailing zeros."""
        for zeros in range(31, -1, -1):
            rounded = (self._low + (1 << zeros) - 1) >> zeros << zeros
            if rounded < self._low + self._range:
                self._low = rounded
                break
        before = len(self.out)
        for _ in range(5):
            self._shift()
        for _ in range(BEYOND):
            if len(self.out) > before and self.out[-1] == 0:
                self.out.pop()
        return bytes(self.out)

    def _renormalise(self) -> None:
        while self._range < _SMALL:
            self._range <<= 8
            self._shift()

    def _shift(self) -> None:
        if self._low < 0xFF000000 or self._low > _FULL:  # no carry can change the bytes before
            carry = self._low >> 32
            if self._held is not None:
                self.out.append((self._held + carry) & 0xFF)
            self.out.extend([(0xFF + carry) & 0xFF] * self._pending)
            self._pending = 0
            self._held = self._low >> 24 & 0xFF
        else:
            self._pending += 1
        self._low = (self._low & 0x00FFFFFF) << 8


class RangeDecoder:
    """Bytes to decisions."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self.position = 0
        self._range, self._code = _FULL, 0
        for _ in range(4):
            self._code = self._code << 8 | self._next()

    def bit(self, contexts: Contexts, place: int, value: bool = False) -> bool:
        bound = (self._range >> 16) * contexts.one[place]
        value = self._code < bound
        if value:
            self._range = bound
        else:
            self._code -= bound
            self._range -= bound
        self._renormalise()
        contexts.see(place, value)
        return value

    def plain(self, value: bool = False) -> bool:
        self._range >>= 1
        value = self._code >= self._range
        if value:
            self._code -= self._range
        self._renormalise()
        return value

    @property
    def ended(self) -> bool:
        """Whether more bytes were read than there are."""
        return self.position > len(self._data) + BEYOND

    def _renormalise(self) -> None:
        while self._range < _SMALL:
            self._range <<= 8
            self._code = (self._code << 8 | self._next()) & _FULL

    def _next(self) -> int:
        at = self.position
        self.position += 1
        return self._data[at] if at < len(self._data) else 0


class PricedDecoder(RangeDecoder):
    """A decoder that also counts the code length of its decisions under the model, in bits, as :class:`Price` does."""

    def __init__(self, data: bytes | memoryview) -> None:
        super().__init__(data)
        self.bits = 0.0

    def bit(self, contexts: Contexts, place: int, value: bool = False) -> bool:
        one = contexts.one[place]
        value = super().bit(contexts, place)
        self.bits += 16 - math.log2(one if value else 65536 - one)
        return value

    def plain(self, value: bool = False) -> bool:
        self.bits += 1
        return super().plain()


class Price:
    """Counts decisions and their code length, in bits."""

    def __init__(self) -> None:
        self.bits = 0.0
        self.decisions = 0

    def bit(self, contexts: Contexts, place: int, value: bool) -> bool:
        one = contexts.one[place]
        self.bits += 16 - math.log2(one if value else 65536 - one)
        self.decisions += 1
        contexts.see(place, value)
        return value

    def plain(self, value: bool) -> bool:
        self.bits += 1
        self.decisions += 1
        return value


def most_decisions(count: int) -> int:
    """The most decisions that a decoder can read from ``count`` more bytes.

    Each takes at least 64 / 65536 of the range, less a truncation error of under 1/250. The range begins below 2^32 and
    ends at 2^24 or above.
    """
    least = (1 - 1 / 250) * math.log2(65536 / (65536 - LEAST))
    return int((8 * max(count, 0) + 8) / least) + 1


def most_bytes(bits: float, decisions: int) -> int:
    """The most bytes that an encoder shifts out for ``decisions`` of ``bits`` in all, in addition to pending ones."""
    # The bits are a float32 sum with as many rounding errors, each relative to a growing sum: below 2^-20 of it.
    return math.ceil((bits * (1 + 2**-20) + decisions * TRUNCATION) / 8) + 2


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
