"""The lines of a CSV file as lists of cells: finds the encoding and the delimiter, and reads quotes."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from szilard import bounded
from szilard.data import limits
from szilard.errors import SzilardError, SzilardWarning

_BYTES_A_BYTE = 16  # of memory per byte of the file, at about four bytes per cell
_MOST_KNOWN = 100_000  # different cells that are kept for reuse
_DELIMITERS = "\t;|,"  # by preference if several give rows of equal length: commas also occur in numbers
_PEEKED = 1 << 16  # characters that are searched for the delimiter
_PEEKED_ROWS = 50
_SAID = re.compile(r"sep=([,;|\t])[\r\n]*", re.IGNORECASE)  # a line for Excel that some programs write
_LONGEST = 16  # characters of such a line, with a margin
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True)
class Lines:
    """Rows of cells without spaces around them; empty rows are left out.

    Attributes:
        lines: for each row, the line of the file on which it ends, counted from 1.
    """

    rows: list[list[str]]
    lines: list[int]
    delimiter: str


def read_lines(path: Path) -> Lines:
    """Read a file of comma-separated values (RFC 4180), or one separated by semicolons, tabs or bars.

    Raises:
        SzilardError: missing, too large, not text, not CSV.
    """
    with bounded.open_file(path, "give a CSV file")[0] as file:
        start = file.read(2)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return _read(path, "utf-16")
        except UnicodeError as error:
            raise SzilardError(f"{path} is not valid UTF-16 text; save it as CSV in UTF-8") from error
    try:
        return _read(path, "utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        found = _read(path, "cp1252", strange=True)
    except UnicodeDecodeError:  # five bytes are not defined in Windows-1252
        found = _read(path, "latin-1", strange=True)
    warnings.warn(
        f"{path} is not UTF-8 and is read as Latin-1 (Windows-1252); check that its text is right, or save it as "
        "UTF-8",
        SzilardWarning,
        stacklevel=2,
    )
    return found


def _read(path: Path, encoding: str, *, strange: bool = False) -> Lines:
    file, size = bounded.open_file(path, "give a CSV file")
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 0
    try:
        with file:
            limits.check(path, _BYTES_A_BYTE * size, size)
            with io.TextIOWrapper(file, newline="", encoding=encoding) as text:
                said = _SAID.fullmatch(text.readline(_LONGEST))
                text.seek(0)
                delimiter = _delimiter(text) if said is None else said[1]
                text.seek(0)
                reader = csv.reader(
                    _checked(path, text, strange, skip=said is not None),
                    delimiter=delimiter,
                    skipinitialspace=delimiter != "\t",
                    strict=True,
                )
                known: dict[str, str] = {}  # equal cells share one string
                for row in reader:
                    line = reader.line_num
                    if any(cell.strip() for cell in row):
                        rows.append([known.setdefault(cell, cell) for cell in map(str.strip, row)])
                        lines.append(line)
                        if len(known) > _MOST_KNOWN:
                            known.clear()
    except csv.Error as error:
        raise SzilardError(f"line {line + 1} of {path} is not CSV: {error}; fix that line") from error
    except OSError as error:
        raise SzilardError(f"{path} cannot be read: {error.strerror or error}; check the file") from error
    return Lines(rows, lines, delimiter)


def _delimiter(text: io.TextIOWrapper) -> str:
    """The delimiter that gives the first lines the same number of cells, else the most frequent one in line 1."""
    start = text.read(_PEEKED)
    whole = start if len(start) < _PEEKED else start[: max(start.rfind("\n"), start.rfind("\r")) + 1]
    for delimiter in _DELIMITERS:
        widths = set()
        try:
            for number, row in enumerate(csv.reader(io.StringIO(whole, newline=""), delimiter=delimiter)):
                if number == _PEEKED_ROWS:
                    break
                if any(cell.strip() for cell in row):
                    widths.add(len(row))
        except csv.Error:
            continue
        if len(widths) == 1 and widths != {1}:
            return delimiter
    first = start.lstrip("\r\n").splitlines()[:1]
    return max(",;\t|", key=first[0].count) if first else ","


def _checked(path: Path, lines: io.TextIOWrapper, strange: bool, *, skip: bool) -> Iterator[str]:
    """Check that lines are text; with ``skip`` the first is replaced by an empty line."""
    for number, line in enumerate(lines, 1):
        if "\0" in line or (strange and _CONTROL.search(line)):
            what = "a zero byte" if "\0" in line else "control characters"
            raise SzilardError(f"line {number} of {path} has {what} and is not text; save it as CSV in UTF-8")
        yield "\n" if skip and number == 1 else line
