"""The binary range coder in Python: decisions to bytes and back, with probabilities that adapt.

Each decision has a context, an estimate of its probability that adapts to the decisions seen in this context. The coder
has a range of 32 bits in integer arithmetic (Martin 1979). ``csrc/coding/range_coder.hpp`` is the same in C++.
"""

from __future__ import annotations

import math
from typing import Protocol

LIMIT = 96  # a context has a running mean over this many decisions once it has seen as many
LEAST = 64  # no decision gets a probability below 64 / 65536
BEYOND = 4  # zero bytes at the end of a stream that are not written
#: Bits that a decision can cost above -log2 of its probability (``range_coder.hpp``).
TRUNCATION = math.log2(257 / 256)

_FULL = 0xFFFFFFFF
_SMALL = 1 << 24


class Contexts:
    """Estimates of P(bit = 1) in units of 2^-16, and how many decisions each has seen.

    Args:
        number: of estimates.
    """

    def __init__(self, number: int) -> None:
        self.one = [1 << 15] * number
        self.count = [0] * number

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
