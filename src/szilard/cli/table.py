"""Tables that fit the terminal, without cutting a number or a name.

If not all columns fit, a table of few rows is transposed; otherwise the least important columns are left out and named
below it. If even the first column is too wide, its cells have lines of their own.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from szilard.cli import output

_GAP = "  "
_TRANSPOSED = 6  # most rows of a table that is transposed


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: its lines: name with the better direction, unit, source.
        cells: one for each row, each on one line.
        right: align to the right, as numbers are.
        worth: columns of the least worth are left out first; None: never.
    """

    heading: Sequence[str]
    cells: Sequence[str]
    right: bool = True
    worth: int | None = None

    @property
    def one_line(self) -> str:
        """The heading on one line."""
        first, *more = [line for line in self.heading if line] or [""]
        return first if not more else f"{first} ({', '.join(more)})"

    @property
    def width(self) -> int:
        return max(map(cell_len, (*self.heading, *self.cells)), default=0)


@dataclass(frozen=True)
class Table:
    """Columns of equal length; the first one names the rows.

    Attributes:
        footer: a last row below a line, or None.
        transposes: may be transposed, so that its columns become rows.
        elsewhere: how to see columns that are left out.
        notes: sentences below it.
    """

    columns: Sequence[Column]
    title: str = ""
    footer: Sequence[str] | None = None
    transposes: bool = False
    elsewhere: str = "--wide shows them"
    notes: Sequence[str] = field(default_factory=tuple)


def show(table: Table, *, wide: bool = False) -> None:
    """Print a table.

    Args:
        wide: all columns, however wide the terminal is.
    """
    say_wrapped(table.title, bold=True)
    width = output.columns(output.stream())
    for line in lines(table, None if wide else width):
        output.say(line)
    for note in table.notes:
        say_wrapped(note)


def say_wrapped(text: str, *, bold: bool = False) -> None:
    """Print sentences, broken between words on a terminal."""
    if not text:
        return
    found = output.columns(output.stream())
    strong = bold and found is not None and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    for line in output.wrapped(text, found):
        output.say(f"\x1b[1m{line}\x1b[0m" if strong else line)


def lines(table: Table, width: int | None) -> list[str]:
    """The table without its title, each line at most ``width`` columns wide; None: of any width."""
    columns = [_whole(table, number) for number in range(len(table.columns))]
    footed = table.footer is not None
    if width is None or _width(columns) <= width:
        return _grid(columns, footed=footed)
    rows = len(table.columns[0].cells)
    if table.transposes and rows <= _TRANSPOSED and (made := _transposed(table.columns, width)) is not None:
        return made
    kept = _kept(columns, width)
    if kept is not None and (len(kept) > 1 or len(columns) == 1):  # a column of names alone is useless
        return _grid(kept, footed=footed) + _left_out(columns, kept, table.elsewhere, width)
    return _tall(columns, table.elsewhere, width)


def _whole(table: Table, number: int) -> Column:
    """A column with its footer as a last cell."""
    column = table.columns[number]
    if table.footer is None:
        return column
    return Column(column.heading, [*column.cells, table.footer[number]], column.right, column.worth)


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _kept(columns: Sequence[Column], width: int) -> list[Column] | None:
    """Columns that fit; None if those that must not be left out do not fit."""
    kept = list(columns)
    while _width(kept) > width:
        spare = [column for column in kept if column.worth is not None]
        if not spare:
            return None
        kept.remove(min(spare, key=lambda column: column.worth or 0))
    return kept


def _left_out(
    columns: Sequence[Column], kept: Sequence[Column], elsewhere: str, width: int | None
) -> list[str]:
    absent = [column.one_line for column in columns if not any(column is one for one in kept)]
    if not absent:
        return []
    return output.wrapped(f"Not shown for lack of width: {', '.join(absent)}; {elsewhere}.", width)


def _grid(columns: Sequence[Column], *, footed: bool = False) -> list[str]:
    """Rows under headings that are aligned at the bottom."""
    deep = max((len(column.heading) for column in columns), default=0)
    found = []
    for line in range(deep):
        parts = []
        for column in columns:
            heading = [""] * (deep - len(column.heading)) + list(column.heading)
            parts.append(_set(heading[line], column))
        found.append(_joined(parts))
    rule = _GAP.join("─" * column.width for column in columns)
    found.append(rule)
    rows = len(columns[0].cells) if columns else 0
    for row in range(rows):
        if footed and row == rows - 1:
            found.append(rule)
        found.append(_joined([_set(column.cells[row], column) for column in columns]))
    return found


def _set(text: str, column: Column) -> str:
    space = " " * (column.width - cell_len(text))
    return space + text if column.right else text + space


def _joined(parts: Sequence[str]) -> str:
    return _GAP.join(parts).rstrip()


def _transposed(columns: Sequence[Column], width: int) -> list[str] | None:
    """Columns as rows; None if too wide.

    Names that do not fit above their columns are replaced by numbers, and listed below the table.
    """
    first, *rest = columns
    names = list(first.cells)
    head = Column([""], [column.one_line for column in rest], right=False)
    values = [[column.cells[row] for column in rest] for row in range(len(names))]
    free = width - head.width - len(_GAP) * len(names)
    least = [max(map(cell_len, cells), default=1) for cells in values]
    each = free // max(1, len(names))
    widths = [max(each, one, 1) for one in least]
    headings = [
        textwrap.wrap(name, wide, break_on_hyphens=False) or [""]
        for name, wide in zip(names, widths, strict=True)
    ]
    fits = all(cell_len(line) <= wide for found, wide in zip(headings, widths, strict=True) for line in found)
    whole = [" ".join(lines_) == " ".join(name.split()) for lines_, name in zip(headings, names, strict=True)]
    legend: list[str] = []
    if not (fits and all(whole)):
        headings = [[str(number)] for number in range(1, len(names) + 1)]
        legend = [
            part
            for number, name in enumerate(names, 1)
            for part in output.wrapped(f"{number}: {name}", width)
        ]
    made = [head, *(Column(lines_, cells) for lines_, cells in zip(headings, values, strict=True))]
    if _width(made) > width:
        return None
    return _grid(made) + legend


def _tall(columns: Sequence[Column], elsewhere: str, width: int) -> list[str]:
    """The first cell of a row on a line of its own, uncut even if too long, and the other cells below it."""
    first, *rest = columns
    # The next columns are kept, as far as they fit.
    spare = [
        Column(column.heading, column.cells, column.right, 100 if column.worth is None else column.worth)
        for column in rest
    ]
    kept = _kept(spare, width - len(_GAP)) or []
    inner = _grid(kept) if kept else []
    rows = len(first.cells)
    head, body = inner[: len(inner) - rows], inner[len(inner) - rows :]
    found = list(first.heading)
    found += [_GAP + line for line in head]
    for row in range(rows):
        found.append(first.cells[row])
        if body:
            found.append(_GAP + body[row])
    return found + _left_out(spare, kept, elsewhere, width)
