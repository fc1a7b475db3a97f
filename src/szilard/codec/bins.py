"""Bins of a field as bytes: symbols, plain bits, and escapes."""

from __future__ import annotations

import numpy as np

from szilard.codec.lattice import LARGEST
from szilard.coding import CodingError, interleaved, shapes
from szilard.coding.cursor import Cursor
from szilard.coding.leb128 import zigzag

MOST_BIN = 2 * LARGEST


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
    ends = np.cumsum(widths)
    total = int(ends[-1]) if len(ends) else 0
    place = np.arange(total)
    owner = np.repeat(np.arange(len(values)), widths)
    shift = place - np.repeat(ends - widths, widths)
    return np.packbits((values[owner] >> shift & 1).astype(np.uint8), bitorder="little").tobytes()


class Bins:
    """Gives the bins of a stream for the scales of one pass after the other."""

    def __init__(self, symbols: bytes, plain: bytes, escapes: bytes, shape: int) -> None:
        if not symbols or symbols[0] > 8:
            raise CodingError("the stream of symbols is damaged")
        self._symbols = interleaved.Decoder(symbols[1:], 1 << symbols[0])
        self._plain = np.unpackbits(np.frombuffer(plain, np.uint8), bitorder="little")
        self._escapes = Cursor(escapes, "the list of escapes of the field")
        self._at, self._shape = 0, shape

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        table, plain = shapes.split(scales, self._shape)
        symbol = self._symbols.symbols(table)
        upper = symbol - shapes.RADIUS
        for place in np.flatnonzero(symbol == shapes.ESCAPE).tolist():
            upper[place] = self._escapes.zigzag(MOST_BIN)
        return (upper << plain) + self._lower(plain) - ((1 << plain) >> 1)

    def _lower(self, widths: np.ndarray) -> np.ndarray:
        total = int(widths.sum())
        if not total:
            return np.zeros(len(widths), np.int64)
        if self._at + total > len(self._plain):
            raise CodingError("the plain bits of a field end too early; the file is damaged")
        ends = np.cumsum(widths)
        shift = np.arange(total) - np.repeat(ends - widths, widths)
        bits = self._plain[self._at : self._at + total].astype(np.int64) << shift
        self._at += total
        sums = np.concatenate([[0], np.cumsum(bits)])
        return sums[ends] - sums[ends - widths]

    def finish(self) -> None:
        """Check that everything was read."""
        self._symbols.finish()
        if not 0 <= len(self._plain) - self._at < 8 or self._plain[self._at :].any() or self._escapes.left():
            raise CodingError("a part of the field has bytes left over; the file is damaged")
