"""Find the features of a table from its training rows: numbers, categories and dates."""

from __future__ import annotations

import numpy as np

from szilard.data import column_warnings, dates
from szilard.data.reading import Column, Reading, code
from szilard.data.roles import Roles
from szilard.data.table import Table
from szilard.errors import SzilardError

MOST_CATEGORIES = 32  # text features with more different values than this are treated as names or free text
MOST_NAMED = 256  # different values of a column that the user names as categorical


def find_columns(table: Table, roles: Roles, train: np.ndarray) -> Reading:
    """The features of a table, with the categories and the varying parts of dates of its training rows.

    Args:
        train: indices of the training rows.

    Raises:
        SzilardError: text with more than 32 different values, or a column named as categorical with more than 256.
    """
    found = []
    for column in roles.features:
        name = table.names[column]
        if column in roles.dates:
            order = roles.dates[column]
            parts = dates.parts(table.days(column, order)[train])
            varying = tuple(part for part, values in parts.items() if np.nanstd(values) > 1e-9)
            # A constant date keeps one part, so that the check for constant columns reports it.
            found.append(Column(name, "date", varying or ("days",), order))
        elif column in roles.categorical:
            found.append(Column(name, "category", _codes(table, column, train)))
        elif table.is_text(column):
            found.append(Column(name, "category", _categories(table, column, train)))
        else:
            found.append(Column(name, "number"))
    return Reading(tuple(found), decimal=table.mark)


def _codes(table: Table, column: int, train: np.ndarray) -> tuple[str, ...]:
    """Values of a column that the user names as categorical: sorted numbers, then sorted text."""
    cells, missing = table.columns[column], table.missing(column)
    values = {code(cells[row]) for row in train.tolist() if not missing[row]}
    if len(values) <= MOST_NAMED:
        return tuple(sorted(values, key=lambda value: (not value.isdecimal(), len(value.lstrip("0")), value)))
    raise SzilardError(
        f"column {table.called(column)} of {table.path} has {len(values)} different values, too many for --categorical "
        f"(at most {MOST_NAMED} are turned into 0/1 columns); join rare ones, or leave the column out with --ignore "
        "(in Python: ignore=[...])"
    )


def _categories(table: Table, column: int, train: np.ndarray) -> tuple[str, ...]:
    cells, missing = table.columns[column], table.missing(column)
    values = sorted({cells[row] for row in train.tolist() if not missing[row]})
    if len(values) <= MOST_CATEGORIES:
        return tuple(values)
    raise SzilardError(
        f"column {table.called(column)} of {table.path} is text with {len(values)} different values (at most "
        f"{MOST_CATEGORIES} are turned into 0/1 columns); {column_warnings.advice(table, column, values, MOST_NAMED)}"
    )
