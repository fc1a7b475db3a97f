"""Read a CSV file as a table."""

from __future__ import annotations

from pathlib import Path

from szilard.data import cells
from szilard.data.table import LETTERS, Table
from szilard.data.table_file import Lines, read_lines
from szilard.errors import SzilardError, shortened

MOST_COLUMNS = 100_000


def read_table(path: Path, decimal: str | None = None, usual: str | None = None) -> Table:
    """Read a CSV file, separated by commas, semicolons, tabs or bars, with or without a header.

    The first line is a header unless all its cells are numbers. UTF-8, UTF-16 with a byte order mark, and Latin-1
    (Windows-1252, with a warning) are read. An empty column without a name (a comma at the end of every line) is left
    out.

    Args:
        decimal: the decimal mark, "." or ","; by default inferred from each column, then from the other columns, then
            from the delimiter.
        usual: the default mark if no column determines it.

    Raises:
        SzilardError: missing, empty, too large, not text, rows of unequal length, or two columns with the same name.
    """
    if decimal not in (None, ".", ","):
        raise SzilardError(f"decimal must be '.' or ',', not {shortened(str(decimal), LETTERS)!r}")
    found = read_lines(path)
    rows, lines = found.rows, found.lines
    if not rows:
        raise SzilardError(f"{path} is empty; it must have a line of names and a line for each example")
    if len(rows[0]) > MOST_COLUMNS:
        raise SzilardError(
            f"{path} has {len(rows[0]):,} columns, and at most {MOST_COLUMNS:,} are read; leave some out"
        )
    names = tuple(str(i) for i in range(len(rows[0])))
    headed = not all(cells.is_number(cell) or cells.is_missing(cell) for cell in rows[0])
    if headed:
        names, rows, lines = tuple(rows[0]), rows[1:], lines[1:]
        if not rows:
            raise SzilardError(f"{path} has a line of names but no rows; add a line for each example")
    names = _drop_empty_ends(names, rows, headed)
    _refuse_duplicate_names(path, names)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(names):
            raise SzilardError(_unequal(path, found, line, len(row), len(names)))
    return Table(
        path,
        names,
        tuple(list(column) for column in zip(*rows, strict=True)),
        lines,
        found.delimiter,
        decimal,
        usual,
    )


def _drop_empty_ends(names: tuple[str, ...], rows: list[list[str]], headed: bool) -> tuple[str, ...]:
    """Leave out empty cells at the end of every row, and name columns without a name by their position."""
    width = len(names)
    named = width if not headed else max((i + 1 for i, name in enumerate(names) if name), default=width)
    for wide in (width, width + 1):
        if wide > named and all(len(row) == wide and not any(row[named:]) for row in rows):
            for row in rows:
                del row[named:]
            names = names[:named]
            break
    return tuple(name or f"column {i + 1}" for i, name in enumerate(names))


def _unequal(path: Path, found: Lines, line: int, has: int, wanted: int) -> str:
    hint = ""
    if found.rows[0][0].startswith("#"):
        return (
            f"line {line} of {path} has {has} cells, but {wanted} are expected; remove the comment in line "
            f"{found.lines[0]}, so that the names of the columns come first"
        )
    if found.delimiter == "," and has > wanted:
        hint = ", put cells with commas (such as 1,5) in quotes, or separate cells by semicolons"
    return f"line {line} of {path} has {has} cells, but {wanted} are expected; fix it{hint}"


def _refuse_duplicate_names(path: Path, names: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SzilardError(f"{path} has two columns named {shortened(name, LETTERS)!r}; rename one")
        seen.add(name)
