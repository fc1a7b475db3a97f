"""One stream of integers under static models: a table of frequencies for each tensor, coded with constriction.

If the levels of a tensor are few and far apart, such as powers of two, or all about as frequent, a table costs fewer
bits than adaptation. A frequency is stored in eighths of octaves below the largest, and is converted to an integer by
integer arithmetic: the weights of ``n`` symbols are scaled to sum to 2^24 - n, and one is added to each. On these
numbers constriction's arithmetic is exact: each symbol has an interval of that width in [0, 2^24).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from szilard.coding.adaptive import LARGEST
from szilard.coding.errors import CodingError

MOST_SYMBOLS = 1 << 12  #: in one table
CERTAIN = (1 << 24) - (
    1 << 14
)  #: largest frequency of a symbol, of 2^24: each symbol costs at least 0.0014 bit

_TOTAL = 1 << 24
_EIGHTHS = (
    2147483648,
    1969251188,
    1805811301,
    1655936265,
    1518500250,
    1392470869,
    1276901417,
    1170923762,
)  # 2^(31 - j/8)
_LOWEST = 8 * 31  # no weight is below 2^(31 - this / 8)
_CHUNK = 1 << 16
_SOME = 1 << 20  # levels at a time


@dataclass(frozen=True, eq=False)
class Table:
    """Symbols and their frequencies.

    Attributes:
        symbols: int32 ``[n]``, ascending, n >= 2.
        codes: int32 ``[n]``, 0 for the most frequent, 8 for half of it, and so on to 248.
    """

    symbols: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, levels: np.ndarray) -> Table | None:
        """The table of ``levels``; None if there is none, or none that can be coded."""
        symbols, counts = _count(levels)
        if not 2 <= len(symbols) <= MOST_SYMBOLS or symbols[-1] - symbols[0] > LARGEST:
            return None
        codes = np.minimum(np.rint(8 * np.log2(counts.max() / counts)), _LOWEST).astype(np.int32)
        table = cls(symbols.astype(np.int32), codes)
        return table if table.frequencies().max() <= CERTAIN else None

    def frequencies(self) -> np.ndarray:
        """Widths of the symbols' intervals, int64 ``[n]``; they sum to 2^24."""
        weights = np.array(_EIGHTHS)[self.codes % 8] >> self.codes // 8
        spare = _TOTAL - len(weights)
        scaled = weights * spare // weights.sum()
        scaled[np.argmin(self.codes)] += spare - scaled.sum()
        return scaled + 1

    def bits(self, levels: np.ndarray) -> float:
        """Code length of the levels under the table, in bits."""
        symbols, counts = _count(levels)
        return float((counts * self.lengths()[np.searchsorted(self.symbols, symbols)]).sum())

    def lengths(self) -> np.ndarray:
        """Code length of each symbol in bits, float64 ``[n]``."""
        return 24 - np.log2(self.frequencies())

    def sides(self) -> tuple[int, np.ndarray, np.ndarray]:
        """The table as small integers: the lowest symbol, distances to the next less one ``[n - 1]``, differences of
        codes ``[n]``."""
        return int(self.symbols[0]), np.diff(self.symbols) - 1, np.diff(self.codes, prepend=0)

    @classmethod
    def from_sides(cls, lowest: int, gaps: np.ndarray, rises: np.ndarray) -> Table:
        """Undo :meth:`sides`.

        Raises:
            CodingError: the integers are not a table.
        """
        gaps, rises = gaps.astype(np.int64), rises.astype(np.int64)
        fits = 2 <= len(rises) <= MOST_SYMBOLS and len(gaps) == len(rises) - 1 and (gaps >= 0).all()
        # In Python's integers: the lowest symbol can be any number that a file can hold.
        if not fits or lowest < -(1 << 31) or lowest + int(gaps.sum()) + len(gaps) >= 1 << 31:
            raise CodingError("the table of a tensor's levels is not valid; the file is damaged")
        symbols = lowest + np.concatenate([[0], np.cumsum(gaps + 1)])
        codes = np.cumsum(rises)
        if codes.min() != 0 or codes.max() > _LOWEST:
            raise CodingError("the table of a tensor's levels is not valid; the file is damaged")
        table = cls(symbols.astype(np.int32), codes.astype(np.int32))
        if table.frequencies().max() > CERTAIN:
            raise CodingError(
                "the table of a tensor's levels gives one a probability near 1; the file is damaged"
            )
        return table


class StaticEncoder:
    """Encodes levels into one stream, each tensor under its own table."""

    def __init__(self) -> None:
        import constriction

        self._coder = constriction.stream.queue.RangeEncoder()

    def levels(self, levels: np.ndarray, table: Table) -> None:
        """Append levels, all of which are in the table."""
        flat, model = np.ravel(levels), _model(table)
        for start in range(0, flat.size, _SOME):
            piece = flat[start : start + _SOME].astype(np.int32)
            self._coder.encode(np.searchsorted(table.symbols, piece).astype(np.int32), model)

    def finish(self) -> bytes:
        """The stream, in whole 32-bit words."""
        words = self._coder.get_compressed()
        self._coder.clear()  # two copies of the stream exist already
        return words.astype("<u4", copy=False).tobytes()


class StaticDecoder:
    """Decodes a stream of :class:`StaticEncoder`; levels must be read in the order in which they were written.

    Args:
        data: the stream.
        priced: count the code length of the levels in :attr:`bits`.

    Attributes:
        bits: code length of the levels decoded so far, as of :meth:`Table.bits`; 0 unless ``priced``.

    Raises:
        CodingError: the bytes are not whole words.
    """

    def __init__(self, data: bytes, *, priced: bool = False) -> None:
        if len(data) % 4:
            raise CodingError(
                "the stream of static levels is not a whole number of words; the file is damaged"
            )
        self._words = np.frombuffer(data, "<u4").astype(np.uint32, copy=False)
        self._priced = priced
        self.bits = 0.0
        self._coder: Any = None  # constriction is not loaded for a file that has no such levels

    def levels(self, count: int, table: Table) -> np.ndarray:
        """The next levels, int32 ``[count]``.

        Raises:
            CodingError: the stream ends too early or is not valid.
        """
        if self._coder is None:
            import constriction

            self._coder = constriction.stream.queue.RangeDecoder(self._words)
        if not 0 <= count <= self._most():
            raise CodingError(f"{count} static levels are more than their stream holds; the file is damaged")
        model = _model(table)
        lengths = table.lengths() if self._priced else None
        found = np.empty(count, np.int32)
        ended = False
        for start in range(0, count, _CHUNK):
            # Less than a chunk is read ahead, so one chunk can be decoded after the end, and no second one.
            if ended:
                raise CodingError("the stream of static levels ends too early; the file is damaged")
            ended = self._coder.maybe_exhausted()
            try:
                places = self._coder.decode(model, min(_CHUNK, count - start))
            except BaseException as error:  # constriction's panics are not of class Exception
                if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                    raise
                raise CodingError("the stream of static levels is damaged") from error
            found[start : start + len(places)] = table.symbols[places]
            if lengths is not None:
                self.bits += float(np.bincount(places, minlength=len(lengths)) @ lengths)
        return found

    def _most(self) -> int:
        """The most levels that the whole stream can hold, each at the code length of the largest frequency."""
        # The state is 64 bits, of which at least 32 are in use, and up to two words after the end can be read.
        return int(32 * (len(self._words) + 4) / (24 - math.log2(CERTAIN))) + 1

    def finish(self) -> None:
        """Check that the stream has been read to its end.

        Raises:
            CodingError: bytes are left over.
        """
        if not self._coder.maybe_exhausted() if self._coder is not None else len(self._words):
            raise CodingError("the stream of static levels has bytes left over; the file is damaged")


def _count(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct levels, ascending, and their counts."""
    flat = np.ravel(levels)
    lowest, highest = (int(flat.min()), int(flat.max())) if flat.size else (0, 0)
    if not flat.size or highest - lowest >= _CHUNK:
        return np.unique(flat.astype(np.int32, copy=False), return_counts=True)
    counts = np.zeros(highest - lowest + 1, np.int64)
    for start in range(0, flat.size, _SOME):  # counting takes eight bytes for each
        piece = flat[start : start + _SOME].astype(np.int64) - lowest
        counts += np.bincount(piece, minlength=len(counts))
    present = counts.nonzero()[0]
    return present + lowest, counts[present]


def _model(table: Table) -> Any:
    import constriction

    # Without its last argument it prints to standard output and rounds differently.
    return constriction.stream.model.Categorical((table.frequencies() - 1).astype(np.float64), perfect=False)
