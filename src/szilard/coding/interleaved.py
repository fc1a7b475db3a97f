"""Interleaved range coding of symbols under tables of 2^16 slots (rANS; Duda 2013, arXiv:1311.2540; Giesen 2014).

Symbol ``i`` is coded in lane ``i mod lanes``. A lane is an integer from 2^31 to 2^63 that reads or writes 32-bit words.
The decoder goes forward through all lanes at once, the encoder backward.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np

from szilard.coding import shapes
from szilard.coding.errors import CodingError
from szilard.kernels import native

MOST_LANES = 256
_LOW = np.uint64(1 << 31)
_WORD = np.uint64(32)
_MASK = np.uint64((1 << 32) - 1)
_SLOT = np.uint64(shapes.PRECISION)
_SLOTS = np.uint64((1 << shapes.PRECISION) - 1)


def lanes_for(bits: float) -> int:
    """Lanes for a stream of this many bits: a power of two whose states take at most 0.125 % of it."""
    lanes = 1
    while lanes < MOST_LANES and bits > 2 * lanes * 32 * 800:
        lanes *= 2
    return lanes


def encode(tables: np.ndarray, symbols: np.ndarray, lanes: int, compiled: bool | None = None) -> bytes:
    """The stream of symbols ``[N]`` under tables ``[N]``: states of the lanes, then words in the decoder's order."""
    if native.available() if compiled is None else compiled:
        return _encode(tables, symbols, lanes)
    start = shapes.starts()[tables, symbols].astype(np.uint64)
    width = shapes.frequencies()[tables, symbols].astype(np.uint64)
    if not width.all():
        raise CodingError("a symbol is not in its table")
    state = np.full(lanes, _LOW)
    words: list[np.ndarray] = []
    count = len(symbols)
    for first in range((max(count, 1) - 1) // lanes * lanes, -1, -lanes):
        here = slice(first, min(first + lanes, count))
        s, f = start[here], width[here]
        x = state[: len(s)]
        full = x >= f << np.uint64(47)  # 2^31 / 2^16 · 2^32 · f
        if full.any():
            words.append((x[full] & _MASK).astype("<u4"))
            x = np.where(full, x >> _WORD, x)
        state[: len(s)] = ((x // f) << _SLOT) + x % f + s
    return state.astype("<u8").tobytes() + b"".join(part.tobytes() for part in reversed(words))


class Decoder:
    """Decodes a stream of :func:`encode`, any number of symbols at a time.

    Args:
        data: the stream.
        lanes: their number.
        compiled: use the C++ coder; None: if it is built.

    Raises:
        CodingError: it is too short.
    """

    def __init__(self, data: bytes, lanes: int, compiled: bool | None = None) -> None:
        if not 1 <= lanes <= MOST_LANES or len(data) < 8 * lanes or len(data) % 4:
            raise CodingError("the stream of symbols is cut off; the file is damaged")
        self._state = np.frombuffer(data, "<u8", lanes).astype(np.uint64)
        self._native = native.available() if compiled is None else compiled
        self._words = np.frombuffer(data, "<u4", offset=8 * lanes).astype(
            np.uint32 if self._native else np.uint64
        )
        if (self._state < _LOW).any() or (self._state >> np.uint64(63)).any():
            raise CodingError("the stream of symbols is damaged")
        self._next = 0
        self._lane = 0

    def symbols(self, tables: np.ndarray) -> np.ndarray:
        """The next symbols, int64 ``[N]``, under tables ``[N]``.

        Raises:
            CodingError: the stream ends too early.
        """
        if self._native:
            return self._decoded(tables)
        lookup, starts, widths = shapes.lookup(), shapes.starts(), shapes.frequencies()
        lanes = len(self._state)
        found = np.empty(len(tables), np.int64)
        done = 0
        while done < len(tables):
            here = slice(self._lane, min(lanes, self._lane + len(tables) - done))
            table = tables[done : done + here.stop - here.start]
            x = self._state[here]
            slot = (x & _SLOTS).astype(np.int64)
            symbol = lookup[table, slot]
            found[done : done + len(table)] = symbol
            x = widths[table, symbol].astype(np.uint64) * (x >> _SLOT) + (
                slot - starts[table, symbol]
            ).astype(np.uint64)
            low = x < _LOW
            number = int(low.sum())
            if number:
                if self._next + number > len(self._words):
                    raise CodingError("the stream of symbols ends too early; the file is damaged")
                x[low] = (x[low] << _WORD) | self._words[self._next : self._next + number]
                self._next += number
            self._state[here] = x
            done += len(table)
            self._lane = here.stop % lanes
        return found

    def _decoded(self, tables: np.ndarray) -> np.ndarray:
        start, width = _tables()
        lookup, lanes = shapes.lookup(), len(self._state)
        names = np.ascontiguousarray(tables, dtype=np.uint8)
        found = np.empty(len(names), np.uint8)
        at, lane = ctypes.c_int64(self._next), ctypes.c_int32(self._lane)
        status = native.library().szilard_interleaved_decode(
            start.ctypes.data, width.ctypes.data, lookup.ctypes.data, len(names), names.ctypes.data, lanes,
            self._state.ctypes.data, lanes, self._words.ctypes.data, len(self._words), ctypes.byref(at),
            ctypes.byref(lane), found.ctypes.data, len(found),
        )  # fmt: skip
        if status == native.BAD_STREAM:
            raise CodingError("the stream of symbols ends too early; the file is damaged")
        native.check(status, "interleaved_decode")
        self._next, self._lane = at.value, lane.value
        return found.astype(np.int64)

    def finish(self) -> None:
        """Check that all words were read and the lanes are as the encoder began.

        Raises:
            CodingError: they are not.
        """
        if self._next != len(self._words) or (self._state != _LOW).any():
            raise CodingError("the stream of symbols does not end where its symbols do; the file is damaged")


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Starts and frequencies as the C++ coder reads them, uint32 ``[120, 128]``."""
    return shapes.starts().astype(np.uint32), shapes.frequencies().astype(np.uint32)


def _encode(tables: np.ndarray, symbols: np.ndarray, lanes: int) -> bytes:
    start, width = _tables()
    names, values = (np.ascontiguousarray(given, dtype=np.uint8) for given in (tables, symbols))
    if not width[names, values].all():
        raise CodingError("a symbol is not in its table")
    state, words = np.empty(lanes, np.uint64), np.empty(len(values), np.uint32)
    written = ctypes.c_int64()
    status = native.library().szilard_interleaved_encode(
        start.ctypes.data, width.ctypes.data, len(values), names.ctypes.data, values.ctypes.data, lanes,
        state.ctypes.data, lanes, words.ctypes.data, len(words), ctypes.byref(written),
    )  # fmt: skip
    native.check(status, "interleaved_encode")
    return state.astype("<u8").tobytes() + words[len(words) - written.value :].astype("<u4").tobytes()
