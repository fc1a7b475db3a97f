"""A CSV file as named columns of numbers or of text."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from szilard import bounded
from szilard.data import limits
from szilard.errors import SzilardError, shortened

MOST_COLUMNS = 100_000
_BYTES_A_BYTE = 16  # of memory for a byte of the file, at about four bytes a cell
_MOST_KNOWN = 100_000  # different cells that are looked out for
_SHOWN = 12  # names in a sentence
_LETTERS = 60  # of a cell or a name in a sentence
# Digits as in a program. Python's float() also takes "1_0" and the digits of other scripts, other programs do not.
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE
)
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
            close = get_close_matches(name[:_LETTERS], self.names[:1000], 1)
            hint = f", perhaps {shortened(close[0], _LETTERS)!r}" if close else ""
            raise SzilardError(
                f"{self.path} has no column {shortened(name, _LETTERS)!r}; choose one of {listed(self.names)}{hint}"
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
            if not _is_number(cell):
                raise self._error(row, column, f"is {shortened(cell, _LETTERS)!r}, not a number")
            values[row] = float(cell)
            if not math.isfinite(values[row]):
                raise self._error(row, column, f"is {shortened(cell, _LETTERS)!r}, not a finite number")
        return values

    def _error(self, row: int, column: int, what: str) -> SzilardError:
        return SzilardError(
            f"line {self.lines[row]}, column {shortened(self.names[column], _LETTERS)!r} of {self.path} {what}; "
            "fill it in or remove the row"
        )


def read_table(path: Path) -> Table:
    """Read a CSV file, separated by commas, semicolons or tabs, with or without a header.

    The first line is a header unless all its cells are numbers.

    Raises:
        SzilardError: missing, empty, too large, not UTF-8, rows of unequal length, or two columns of one name.
    """
    rows, lines = _rows(path)
    if not rows:
        raise SzilardError(f"{path} is empty; it must hold a line of names and a line for each example")
    if len(rows[0]) > MOST_COLUMNS:
        raise SzilardError(
            f"{path} has {len(rows[0]):,} columns, more than the {MOST_COLUMNS:,} that are read; leave some out"
        )
    names = tuple(str(i) for i in range(len(rows[0])))
    if not all(_is_number(cell) or cell.lower() in _MISSING for cell in rows[0]):
        names, rows, lines = tuple(rows[0]), rows[1:], lines[1:]
    _refuse_twice(path, names)
    if not rows:
        raise SzilardError(f"{path} has a line of names but no rows; add a line for each example")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise SzilardError(
                f"line {line} of {path} has {len(row)} cells, but {len(names)} are expected; mend it"
            )
    return Table(path, names, tuple(list(column) for column in zip(*rows, strict=True)), lines)


def listed(names: Sequence[str]) -> str:
    """The first few names, for a sentence."""
    shown = ", ".join(shortened(name, _LETTERS) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def _rows(path: Path) -> tuple[list[list[str]], list[int]]:
    """Cells without spaces around them, and the line of the file on which each row ends; empty rows are left out."""
    file, size = bounded.open_file(path, "name a CSV file")
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 0
    try:
        with file:
            limits.check(path, _BYTES_A_BYTE * size, size)
            with io.TextIOWrapper(file, newline="", encoding="utf-8-sig") as text:
                first = text.readline()
                text.seek(0)
                delimiter = max(",;\t", key=first.count)
                del first
                reader = csv.reader(
                    _without_zeros(path, text), delimiter=delimiter, skipinitialspace=True, strict=True
                )
                known: dict[str, str] = {}  # a cell that comes again is kept once
                for row in reader:
                    line = reader.line_num
                    if any(cell.strip() for cell in row):
                        rows.append([known.setdefault(cell, cell) for cell in map(str.strip, row)])
                        lines.append(line)
                        if len(known) > _MOST_KNOWN:
                            known.clear()
    except UnicodeDecodeError as error:
        raise SzilardError(f"{path} is not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise SzilardError(f"line {line + 1} of {path} is not CSV: {error}; mend that line") from error
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror or error}; check the file") from error
    return rows, lines


def _without_zeros(path: Path, lines: io.TextIOWrapper) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise SzilardError(
                f"line {number} of {path} holds a zero byte, so it is no text; save it as CSV in UTF-8"
            )
        yield line


def _refuse_twice(path: Path, names: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SzilardError(f"{path} has two columns named {shortened(name, _LETTERS)!r}; rename one")
        seen.add(name)


def _is_number(cell: str) -> bool:
    return cell.lower() not in _MISSING and _NUMBER.fullmatch(cell) is not None
