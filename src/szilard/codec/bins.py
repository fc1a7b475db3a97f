"""Bins of a field as bytes: symbols, plain bits, and escapes."""

from __future__ import annotations

import numpy as np

from szilard.codec.lattice import FARTHEST
from szilard.codec.network import STEP
from szilard.coding import CodingError, interleaved, shapes
from szilard.coding.cursor import Cursor
from szilard.coding.leb128 import zigzag

MOST_BIN = 2 * FARTHEST // STEP  #: from a point of the lattice to any other
_PACKED = 1 << 16  # integers that are packed at once
_WINDOW = 5  # bytes that hold the plain bits of an integer, wherever they begin


def encode(bins: np.ndarray, scales: np.ndarray, shape: int) -> list[bytes]:
    """Symbols, plain bits and escapes."""
    table, symbol, upper = shapes.symbols(bins, scales, shape)
    bits = float(shapes.lengths()[table, symbol].sum())
    lanes = interleaved.lanes_for(bits)
    plain = shapes.split(scales, shape)[1]
    lower = bins + ((1 << plain) >> 1) - (upper << plain)
    escaped = upper[symbol == shapes.ESCAPE]
    return [
        bytes([lanes.bit_length() - 1]) + interleaved.encode(table, symbol, lanes),
        _pack(lower, plain),
        b"".join(map(zigzag, escaped.tolist())),
    ]


def _pack(values: np.ndarray, widths: np.ndarray) -> bytes:
    """Integers of these numbers of bits, low bits first."""
    values, widths = values[widths > 0], widths[widths > 0]
    bits = [np.empty(0, np.uint8)]
    for start in range(0, len(values), _PACKED):
        value, width = values[start : start + _PACKED], widths[start : start + _PACKED]
        shift = np.arange(width.sum()) - np.repeat(np.cumsum(width) - width, width)
        bits.append((np.repeat(value, width) >> shift & 1).astype(np.uint8))
    return np.packbits(np.concatenate(bits), bitorder="little").tobytes()


class Bins:
    """Gives the bins of a stream for the scales of one pass after the other."""

    def __init__(self, symbols: bytes, plain: bytes, escapes: bytes, shape: int) -> None:
        if not symbols or symbols[0] > 8:
            raise CodingError("the stream of symbols is damaged")
        self._symbols = interleaved.Decoder(symbols[1:], 1 << symbols[0])
        self._plain = np.frombuffer(plain + bytes(_WINDOW), np.uint8)
        self._bits = 8 * len(plain)
        self._escapes = Cursor(escapes, "the list of escapes of the field")
        self._at, self._shape = 0, shape

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        table, plain = shapes.split(scales, self._shape)
        symbol = self._symbols.symbols(table)
        upper = symbol - shapes.RADIUS
        for place in np.flatnonzero(symbol == shapes.ESCAPE).tolist():
            upper[place] = self._escapes.zigzag((MOST_BIN >> int(plain[place])) + 1)
        return (upper << plain) + self._lower(plain) - ((1 << plain) >> 1)

    def _lower(self, widths: np.ndarray) -> np.ndarray:
        total = int(widths.sum())
        if not total:
            return np.zeros(len(widths), np.int64)
        if self._at + total > self._bits:
            raise CodingError("the plain bits of a field end too early; the file is damaged")
        start = self._at + np.cumsum(widths) - widths
        self._at += total
        byte = start >> 3
        window = sum(self._plain[byte + n].astype(np.int64) << 8 * n for n in range(_WINDOW))
        return (window >> (start & 7)) & ((1 << widths) - 1)

    def finish(self) -> None:
        """Check that everything was read."""
        self._symbols.finish()
        left = self._bits - self._at
        if left >= 8 or (left and self._plain[self._at >> 3] >> (self._at & 7)) or self._escapes.left():
            raise CodingError("a part of the field has bytes left over; the file is damaged")
