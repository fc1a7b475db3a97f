"""The rows of one file, in order."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from szilard.adapt.streaming import layout as columns
from szilard.adapt.streaming.layout import Layout
from szilard.data import dates, labels
from szilard.data.reading import code
from szilard.data.table import Table
from szilard.data.target_readers import CLASSES, QUANTITIES
from szilard.errors import SzilardError, SzilardWarning, shortened

_SEPARATOR = "\x1f"
MOST = 1e100  #: largest absolute value of a number, so that squares are finite
_MANY = 0.1  # a share of skipped rows that is worth a warning


class Rows:
    """Features, targets and lines of a file.

    Args:
        table: the file.
        layout: its columns.
        classes: classes that are known from earlier files: their names are kept.

    Attributes:
        targets: class name or number of each row, None where it is missing.
        complete: whether a row has all features, ``[N]``.
        times: ``[N]`` of the time column, or None.
    """

    def __init__(self, table: Table, layout: Layout, classes: Sequence[str] = ()) -> None:
        self.table, self.layout = table, layout
        self.lines = table.lines
        self.complete = np.ones(len(table.lines), dtype=bool)
        self._values: list[tuple[str, list[Any]]] = []
        for feature in layout.features:
            self._add(feature)
        self.targets = _targets(table, layout, classes)
        self.times = _times(table, layout)

    def __len__(self) -> int:
        return len(self.lines)

    def features(self, row: int) -> dict[str, Any]:
        """The features of a row by name."""
        return {name: values[row] for name, values in self._values}

    def cell(self, row: int) -> str:
        """The target of a row as it is in the file."""
        return self.table.columns[self.table.index(self.layout.target)][row]

    def hashed(self, count: int) -> Any:
        """A hash of the first rows, by which they are recognised; :meth:`feed` adds the next one."""
        found = hashlib.sha256(_SEPARATOR.join(self.table.names).encode("utf-8", "surrogatepass"))
        for row in range(min(count, len(self))):
            self.feed(found, row)
        return found

    def digests(self, counts: Collection[int]) -> dict[int, str]:
        """The hash of the first rows, in hexadecimal, for each of these numbers of rows that the file has."""
        found, digests = self.hashed(0), {}
        for row in range(1 + max((one for one in counts if one <= len(self)), default=-1)):
            if row:
                self.feed(found, row - 1)
            if row in counts:
                digests[row] = found.hexdigest()
        return digests

    def feed(self, found: Any, row: int) -> None:
        """Add a row to a hash of the rows before it."""
        text = _SEPARATOR.join(column[row] for column in self.table.columns)
        found.update(f"\n{text}".encode("utf-8", "surrogatepass"))

    def numbers(self) -> list[str]:
        """Names of the features that are numbers, dates by their parts."""
        texts = self.texts()
        return [name for name, _ in self._values if name not in texts]

    def texts(self) -> dict[str, set[str]]:
        """The different texts of each feature of texts."""
        kinds = {one.name for one in self.layout.features if one.kind == columns.TEXT}
        return {name: {v for v in values if v is not None} for name, values in self._values if name in kinds}

    def check(self, *, strict: bool, after: float | None) -> None:
        """Raise for huge numbers, for rows that are out of order, and with ``strict`` for missing cells.

        Args:
            after: time of the last row of an earlier file.
        """
        if self.times is not None:
            self._check_order(self.times, after)
        self._check_size()
        if not strict:
            return
        named = [self.layout.target, *(one.name for one in self.layout.features)]
        gone = {name: self.table.missing(self.table.index(name)) for name in named}
        first = min((int(one.argmax()), name) for name, one in gone.items() if one.any()) if any(
            one.any() for one in gone.values()
        ) else None  # fmt: skip
        if first is not None:
            row, name = first
            rest = (
                "predict such rows without learning them (in Python: strict=False)"
                if name == self.layout.target
                else "skip such rows (in Python: strict=False)"
            )
            raise SzilardError(
                f"line {self.lines[row]}, column {self.table.called(self.table.index(name))} of {self.table.path} is "
                f"missing, and --strict refuses missing cells; fill it in, or leave --strict out to {rest}"
            )

    def warn_of_gaps(self, start: int) -> None:
        """Warn if many of the rows from ``start`` are skipped, and name the column with most gaps."""
        rows = len(self) - start
        skipped = rows - int(self.complete[start:].sum())
        if not skipped > _MANY * rows:
            return
        names = (one.name for one in self.layout.features)
        gaps = {name: int(self.table.missing(self.table.index(name))[start:].sum()) for name in names}
        worst = max(gaps, key=lambda name: gaps[name])
        warnings.warn(
            f"{skipped:,} of {rows:,} rows of {self.table.path} ({100 * skipped / rows:.1f} %) lack some feature and "
            f"are skipped; column {self.table.called(self.table.index(worst))} has most gaps ({gaps[worst]:,}), so "
            "fill it in, or leave it out with --ignore from the first file on (in Python: ignore=[...])",
            SzilardWarning,
            stacklevel=2,
        )

    def _check_size(self) -> None:
        """Raise for the first number whose square could not be computed with."""
        kinds = {one.name: one.kind for one in self.layout.features}
        found = [(name, values) for name, values in self._values if kinds.get(name) == columns.NUMBER]
        found += [(self.layout.target, self.targets)] if self.layout.of_numbers else []
        first: tuple[int, str] | None = None
        for name, values in found:
            huge = np.abs(np.array(values, dtype=float)) > MOST  # a missing one is NaN
            if huge.any() and (first is None or int(huge.argmax()) < first[0]):
                first = int(huge.argmax()), name
        if first is not None:
            column = self.table.index(first[1])
            cell = shortened(self.table.columns[column][first[0]], 60)
            raise SzilardError(
                f"line {self.lines[first[0]]}, column {self.table.called(column)} of {self.table.path} is {cell}, and "
                "numbers beyond 1e100 cannot be learned; correct it, or empty the cell"
            )

    def _check_order(self, times: np.ndarray, after: float | None) -> None:
        assert self.layout.time is not None
        name = self.table.called(self.table.index(self.layout.time.name))
        if after is not None and times[0] < after:
            raise SzilardError(
                f"line {self.lines[0]} of {self.table.path} is earlier in column {name} than the last row of the "
                "stream; a stream continues with later rows only"
            )
        falls = (np.diff(times) < 0).nonzero()[0]
        if len(falls):
            row = int(falls[0]) + 1
            raise SzilardError(
                f"line {self.lines[row]} of {self.table.path} is earlier in column {name} than line "
                f"{self.lines[row - 1]}; sort the rows by that column"
            )

    def _add(self, feature: columns.Feature) -> None:
        column = self.table.index(feature.name)
        missing = self.table.missing(column)
        self.complete &= ~missing
        cells = self.table.columns[column]
        if feature.kind == columns.TEXT:
            texts = [None if gone else code(cell) for cell, gone in zip(cells, missing, strict=True)]
            self._values.append((feature.name, texts))
        elif feature.kind == columns.DATE:
            days = self.table.days(column, feature.order)
            for part, values in dates.parts(days).items():
                self._values.append((f"{feature.name}:{part}", values.tolist()))
        else:
            self._values.append((feature.name, self.table.numbers(column, gaps=True).tolist()))


def _targets(table: Table, layout: Layout, classes: Sequence[str]) -> list[Any]:
    column = table.index(layout.target)
    present = (~table.missing(column)).nonzero()[0]
    found: list[Any] = [None] * len(table.lines)
    if not len(present):
        return found
    known = table.take(present)
    if layout.of_numbers:
        numbers, _ = QUANTITIES.of_column(known, column)
        values: list[Any] = numbers.reshape(-1).tolist()
    else:
        numbers, names = CLASSES.of_column(known, column)
        called = labels.as_before(names, classes)
        values = [called[number] for number in numbers.tolist()]
    for row, value in zip(present.tolist(), values, strict=True):
        found[row] = value
    return found


def _times(table: Table, layout: Layout) -> np.ndarray | None:
    if layout.time is None:
        return None
    column = table.index(layout.time.name)
    if layout.time.kind == columns.DATE:
        found = table.days(column, layout.time.order)
        if np.isnan(found).any():
            raise table.wrong(int(np.isnan(found).argmax()), column, "is missing")
        return found
    return table.numbers(column)
