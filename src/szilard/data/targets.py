"""The target columns of a table: their names, and their cells as numbers."""

from __future__ import annotations

import csv

import numpy as np

from szilard.data.table import Table, listed
from szilard.errors import SzilardError, shortened

_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}  # other notations of 1 and 0


def named(text: str) -> list[str]:
    """The column names in the value of ``--target``."""
    try:
        found = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a zero byte, or a name that is too long
        found = [text]
    return [name for name in map(str.strip, found) if name]


def chosen(table: Table, text: str) -> tuple[int, ...]:
    """Indices of the columns in ``--target``: one, or several separated by commas.

    In a list, a name with a comma in it is quoted: ``'"a,b",c'``.

    Raises:
        SzilardError: no such column, or a column named twice.
    """
    if text in table.names:
        return (table.index(text),)
    parts = named(text)
    if not parts:
        raise SzilardError(
            f"--target names no column of {table.path}; it has {listed(table.names)} (in Python: target=)"
        )
    found = tuple(table.index(part) for part in parts)
    twice = next((column for n, column in enumerate(found) if column in found[:n]), None)
    if twice is not None:
        raise SzilardError(
            f"--target names column {table.called(twice)} twice; name it once (in Python: target=)"
        )
    return found


def numbers(table: Table, column: int) -> np.ndarray:
    """A target as float64 ``[N]``; true and false, yes and no are 1 and 0.

    Raises:
        SzilardError: other text, or a missing cell.
    """
    if not table.is_text(column):
        return table.numbers(column)
    cells = [cell.strip().lower() for cell in table.texts(column)]
    row = next((row for row, cell in enumerate(cells) if cell not in _WORDS), None)
    if row is not None:
        cell = shortened(table.columns[column][row], 60)
        raise SzilardError(
            f"column {table.called(column)} of {table.path} is text, such as {cell!r} in line {table.lines[row]}, and "
            "several targets must be numbers, or true and false; predict it alone, or leave it out of --target (in "
            "Python: target=)"
        )
    return np.array([_WORDS[cell] for cell in cells])
