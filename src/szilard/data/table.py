"""A CSV file as named columns of numbers or of text."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from szilard.errors import SzilardError

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}


@dataclass(frozen=True)
class Table:
    """Cells as text, column by column.

    Attributes:
        path: the file.
        names: one a column; "0", "1", ... in a file without a header.
        columns: one list of cells a column.
        lines: for each row, the line of the file on which it ends, counted from 1.
    """

    path: Path
    names: tuple[str, ...]
    columns: tuple[list[str], ...]
    lines: list[int]

    def index(self, name: str) -> int:
        """Number of a column from its name, or from its number (negative ones count from the end)."""
        if name in self.names:
            return self.names.index(name)
        try:
            return range(len(self.names))[int(name)]
        except (ValueError, IndexError):
            close = get_close_matches(name, self.names, 1)
            hint = f", perhaps {close[0]!r}" if close else ""
            raise SzilardError(
                f"{self.path} has no column {name!r}; choose one of {', '.join(self.names)}{hint}"
            ) from None

    def is_text(self, column: int) -> bool:
        """Whether no cell of the column is a number."""
        return not any(_is_number(cell) for cell in self.columns[column])

    def texts(self, column: int) -> list[str]:
        """Cells of a text column; raises for a missing one."""
        for row, cell in enumerate(self.columns[column]):
            if cell.lower() in _MISSING:
                raise self._error(row, column, "is missing")
        return self.columns[column]

    def numbers(self, column: int) -> np.ndarray:
        """Cells of a column as float64; raises for missing, infinite and non-numeric ones."""
        values = np.empty(len(self.lines))
        for row, cell in enumerate(self.columns[column]):
            if cell.lower() in _MISSING:
                raise self._error(row, column, "is missing")
            try:
                values[row] = float(cell)
            except ValueError:
                raise self._error(row, column, f"is {cell!r}, not a number") from None
            if not math.isfinite(values[row]):
                raise self._error(row, column, f"is {cell!r}, not a finite number")
        return values

    def _error(self, row: int, column: int, what: str) -> SzilardError:
        return SzilardError(
            f"line {self.lines[row]}, column {self.names[column]!r} of {self.path} {what}; "
            "fill it in or remove the row"
        )


def read_table(path: Path) -> Table:
    """Read a CSV file, separated by commas, semicolons or tabs, with or without a header.

    The first line is a header unless all its cells are numbers.

    Raises:
        SzilardError: missing, empty, not UTF-8, rows of unequal length, or two columns of one name.
    """
    if not path.is_file():
        raise SzilardError(f"{path} does not exist; name a CSV file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(
                file, delimiter=max(",;\t", key=first.count), skipinitialspace=True, strict=True
            )
            rows, lines = [], []
            for row in reader:
                if any(cell.strip() for cell in row):
                    rows.append([cell.strip() for cell in row])
                    lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise SzilardError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise SzilardError(f"line {reader.line_num} of {path} is not CSV: {error}; mend that line") from error
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror or error}; check the file") from error
    if not rows:
        raise SzilardError(f"{path} is empty; it must hold a line of names and a line for each example")
    names = tuple(str(i) for i in range(len(rows[0])))
    if not all(_is_number(cell) or cell.lower() in _MISSING for cell in rows[0]):
        names, rows, lines = tuple(rows[0]), rows[1:], lines[1:]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise SzilardError(f"{path} has two columns named {twice!r}; rename one")
    if not rows:
        raise SzilardError(f"{path} has a line of names but no rows; add a line for each example")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise SzilardError(
                f"line {line} of {path} has {len(row)} cells, but {len(names)} are expected; mend it"
            )
    return Table(path, names, tuple(list(column) for column in zip(*rows, strict=True)), lines)


def _is_number(cell: str) -> bool:
    if cell.lower() in _MISSING:
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True
