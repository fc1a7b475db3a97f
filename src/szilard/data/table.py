"""A CSV file as named columns of numbers, of text or of dates."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from szilard.data import cells, dates
from szilard.errors import SzilardError, SzilardWarning, shortened

_SHOWN = 12  # names in a message
_PEEKED = 1000  # rows of a column of plain numbers that are searched for the decimal mark
LETTERS = 60  # of a cell or a name in a message


@dataclass(frozen=True)
class Table:
    """Cells as text, column by column.

    Attributes:
        path: the file.
        names: one per column; "0", "1", ... in a file without a header.
        columns: one list of cells per column.
        lines: for each row, the line of the file on which it ends, counted from 1.
        delimiter: character between cells.
        decimal: the decimal mark given by the user, "." or ",", or None to infer it.
        usual: the default mark if no column determines it, or None.
    """

    path: Path
    names: tuple[str, ...]
    columns: tuple[list[str], ...]
    lines: list[int]
    delimiter: str = ","
    decimal: str | None = None
    usual: str | None = None
    _marks: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)
    _plain: dict[int, np.ndarray | None] = field(default_factory=dict, repr=False, compare=False)

    def index(self, name: str) -> int:
        """Index of a column from its name, or from its number (negative numbers count from the end)."""
        if name in self.names:
            return self.names.index(name)
        try:
            return range(len(self.names))[int(name)]
        except (ValueError, IndexError):
            close = get_close_matches(name[:LETTERS], self.names[:1000], 1)
            hint = f", perhaps {shortened(close[0], LETTERS)!r}" if close else ""
            raise SzilardError(
                f"{self.path} has no column {shortened(name, LETTERS)!r}; choose one of {listed(self.names)}{hint}"
            ) from None

    def take(self, rows: np.ndarray) -> Table:
        """The rows with these indices."""
        if len(rows) == len(self.lines):
            return self
        chosen = rows.tolist()
        columns = tuple([column[row] for row in chosen] for column in self.columns)
        # The decimal mark is that of the whole file.
        return replace(self, columns=columns, lines=[self.lines[row] for row in chosen], _plain={})

    def called(self, column: int) -> str:
        """The name of a column, for a message."""
        return repr(shortened(self.names[column], LETTERS))

    def is_text(self, column: int) -> bool:
        """Whether no cell of the column is a number."""
        return self.plain(column) is None and not any(map(cells.is_number, self.columns[column]))

    def plain(self, column: int) -> np.ndarray | None:
        """A column of finite numbers in program notation (1234.5), ``[N]``, or None; cached."""
        if column not in self._plain:
            self._plain[column] = cells.plain(self.columns[column])
        return self._plain[column]

    def partly_text(self, column: int) -> bool:
        """Whether some cells are numbers and some are text; missing cells are neither."""
        if self.plain(column) is not None:
            return False
        present = [cell for cell in self.columns[column] if not cells.is_missing(cell)]
        return 0 < sum(map(cells.is_number, present)) < len(present)

    def missing(self, column: int) -> np.ndarray:
        """``[N]`` bool: which cells are missing."""
        found = self.columns[column]
        if self.plain(column) is not None:
            return np.zeros(len(found), dtype=bool)
        return np.fromiter(map(cells.is_missing, found), bool, len(found))

    def texts(self, column: int) -> list[str]:
        """Cells of a text column; raises for missing cells."""
        missing = self.missing(column)
        if missing.any():
            raise self.wrong(int(missing.argmax()), column, "is missing")
        return self.columns[column]

    def numbers(self, column: int, *, gaps: bool = False) -> np.ndarray:
        """Cells of a column as float64; raises for infinite and non-numeric cells.

        Args:
            gaps: return NaN for missing cells instead of raising.
        """
        given = self.columns[column]
        found = self.plain(column)
        if found is not None and not cells.thousands(given):
            return found
        if found is not None and self.mark != ",":
            if self.mark is None:
                self._check_points(column)
            return found
        parsed = cells.numbers(given, self._mark_of(column))
        if parsed.missing.any() and not gaps:
            raise self.wrong(int(parsed.missing.argmax()), column, "is missing")
        if parsed.wrong is not None:
            row = parsed.wrong
            kind = "a finite number" if cells.is_number(given[row]) else "a number"
            raise self.wrong(row, column, f"is {shortened(given[row], LETTERS)!r}, not {kind}")
        return parsed.values

    def days(self, column: int, order: str) -> np.ndarray:
        """Cells of a date column as days since 1970, NaN for missing cells; raises for cells that are not dates."""
        given = self.columns[column]
        found = dates.days(given, order)
        for row in np.isnan(found).nonzero()[0].tolist():
            if not cells.is_missing(given[row]):
                raise self.wrong(
                    row, column, f"is {shortened(given[row], LETTERS)!r}, not a date such as 2024-03-31"
                )
        return found

    @property
    def mark(self) -> str | None:
        """The decimal mark of the file: as given, or the only one that its columns use, or None."""
        if self.decimal is not None:
            return self.decimal
        if "mark" not in self._marks:
            odd = [column for i, column in enumerate(self.columns) if self.plain(i) is None]
            found = {mark for column in odd for mark in cells.marks(column)}
            if found or any(cells.undecided(column) is not None for column in odd):
                plain = (column for i, column in enumerate(self.columns) if self.plain(i) is not None)
                found |= {mark for column in plain for mark in cells.marks(column[:_PEEKED])}
            self._marks["mark"] = found.pop() if len(found) == 1 else self.usual
        return self._marks["mark"]

    def _mark_of(self, column: int) -> str:
        if self.decimal is not None:
            return self.decimal
        given = self.columns[column]
        found = cells.marks(given)
        if len(found) == 1:
            return found.pop()
        if found:
            point, comma = (self._first(column, mark) for mark in ".,")
            raise SzilardError(
                f"column {self.called(column)} of {self.path} has decimal points (line {point}) and decimal commas "
                f"(line {comma}); use one decimal mark"
            )
        open_ = cells.undecided(given)
        if open_ is not None and self.mark == self.usual == "," and self.delimiter == ",":
            raise SzilardError(
                f"column {self.called(column)} of {self.path} has numbers such as {shortened(open_, LETTERS)!r}, and "
                "the comma is either a decimal comma, as in the training file, or a thousands separator, as is usual "
                "in files separated by commas; write them without commas"
            )
        if self.mark is not None:
            return self.mark
        if open_ is not None and self.delimiter not in ",;":
            raise SzilardError(
                f"column {self.called(column)} of {self.path} has numbers such as {shortened(open_, LETTERS)!r}, and "
                "the comma can be a decimal comma or a thousands separator; add --decimal , or --decimal . (in "
                "Python: decimal=',' or decimal='.')"
            )
        # Programs separate cells by semicolons if the comma is the decimal mark.
        return "," if open_ is not None and self.delimiter == ";" else "."

    def _check_points(self, column: int) -> None:
        """Warn of points that can be thousands separators: three digits after each, and otherwise whole numbers.

        Raises:
            SzilardError: the cells are not separated by commas, as is usual if the comma is the decimal mark.
        """
        given = self.columns[column]
        pointed = {cell for cell in given if "." in cell}
        whole = all("." in cell or cells.below_thousand(cell) for cell in given)
        mixed = len(pointed) < len(set(given))
        key = f"points {column}"
        if key in self._marks or not whole or not (mixed or self.delimiter == ";"):
            return
        self._marks[key] = None
        shown = shortened(next(iter(sorted(pointed))), LETTERS)
        what = (
            f"column {self.called(column)} of {self.path} has numbers such as {shown!r}, always with three digits "
            "after the point, which can be a thousands separator"
        )
        advice = "add --decimal , if it is, or --decimal . if not (in Python: decimal=',' or decimal='.')"
        if mixed and self.delimiter != ",":
            raise SzilardError(f"{what}; {advice}")
        warnings.warn(f"{what} and is read as a decimal point; {advice}", SzilardWarning, stacklevel=3)

    def _first(self, column: int, mark: str) -> int:
        given = self.columns[column]
        return next(self.lines[row] for row, cell in enumerate(given) if mark in cells.marks([cell]))

    def wrong(self, row: int, column: int, what: str) -> SzilardError:
        """The exception for an invalid cell."""
        return SzilardError(
            f"line {self.lines[row]}, column {self.called(column)} of {self.path} {what}; "
            "fill it in or remove the row"
        )


def listed(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    shown = ", ".join(shortened(name, LETTERS) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
