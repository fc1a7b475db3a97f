"""The change log of a stream: when the world changed, or when another rate of forgetting took the lead."""

from __future__ import annotations

from typing import Any

import numpy as np

from szilard.adapt.filter import Filter
from szilard.adapt.trackers import Bank

_AHEAD = 2.0  # a new rate leads if it is this many times as probable as the last leader


class ChangeLog:
    """Lines of ``changes.csv`` from a filter after each row that it learned.

    The filter counts the rows that it learned; the log counts all rows of the stream, from 1.

    Attributes:
        columns: of the file; none if the filter detects no changes.
        leader: the rate that leads in a bank, by its number; -1 before the first row.
        gaps: number of learned rows at each row that was not learned.
        count: changes found so far.
        last: rows of the last changes that were found, for the report.
    """

    MOST = 200

    def __init__(self, filter_: Filter) -> None:
        self._bank = filter_.tracker if isinstance(filter_.tracker, Bank) else None
        self._detects = filter_.tracker.detects
        self.columns: tuple[str, ...] = ()
        if self._bank is not None:
            self.columns = ("row", "line", "rate", "probability")
        elif self._detects:
            self.columns = ("row", "found", "line_found", "probability")
        self.leader = -1
        self.gaps: list[int] = []
        self.count = 0
        self.last: list[int] = []

    def skip(self, learned: int) -> None:
        """A row that was not learned, after ``learned`` rows that were."""
        if self._detects:
            self.gaps.append(learned)

    def look(self, filter_: Filter, row: int, line: int) -> tuple[Any, ...] | None:
        """A line of the log after a row was learned, or None.

        Args:
            row: number of the row, from 1.
            line: its line in the file.
        """
        found: tuple[Any, ...] | None = None
        at = row
        if self._bank is not None:
            found = self._led(filter_, row, line)
        elif filter_.found is not None:
            change = filter_.found
            at = self._row_of(change.row)
            found = at, row, line, change.probability
        if found is not None:
            self.count += 1
            self.last = [*self.last, at][-self.MOST :]
        return found

    def _led(self, filter_: Filter, row: int, line: int) -> tuple[Any, ...] | None:
        assert self._bank is not None
        weights = np.exp(filter_.tracks.log_weight)
        first = int(weights.argmax())
        before = weights[self.leader] if self.leader >= 0 else 1 / len(weights)
        if first == self.leader or weights[first] < _AHEAD * before:
            return None
        self.leader = first
        return row, line, self._bank.rates[first], float(weights[first])

    def _row_of(self, learned: int) -> int:
        """The number of the row that was learned as number ``learned`` (from 0), from 1."""
        return learned + 1 + int(np.searchsorted(np.array(self.gaps, dtype=int), learned, side="right"))

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {"leader": self.leader, "gaps": self.gaps, "count": self.count, "last": self.last}

    def load_plain(self, plain: dict[str, Any]) -> None:
        """Continue; raises ValueError, KeyError or TypeError if it is damaged."""
        numbers = [plain["leader"], plain["count"], *plain["gaps"], *plain["last"]]
        most = -1 if self._bank is None else len(self._bank.rates) - 1
        if not all(isinstance(one, int) and one >= -1 for one in numbers) or plain["leader"] > most:
            raise ValueError("change log")
        if sorted(plain["gaps"]) != plain["gaps"] or len(plain["last"]) > self.MOST:
            raise ValueError("change log")
        self.leader, self.count = plain["leader"], plain["count"]
        self.gaps, self.last = list(plain["gaps"]), list(plain["last"])
