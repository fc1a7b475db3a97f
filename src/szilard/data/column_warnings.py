"""Warnings about columns that are probably not features: row numbers, ids, and dates read as text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence

import numpy as np

from szilard.data import dates
from szilard.data.table import Table
from szilard.errors import SzilardWarning, shortened


class ColumnWarning(SzilardWarning):
    """A column may have another meaning; given in training and not in prediction."""


_LEAST = 20  # rows; in smaller tables it is not unusual that all numbers differ
_NAMED = re.compile(
    r"(?:.*[_\W])?(?:id|ids|index|idx|key|nr|no|number|uuid|guid|row|column 1)|.*[a-z]ID|.*Id", re.ASCII
)
_SHOWN = 5


def warn_of_ids(table: Table, features: Sequence[int], known: Collection[int]) -> None:
    """Warn of columns that look like ids: whole numbers, all different, that are sorted, count the rows, or have a name
    such as "id". A network can memorise rows with such a column, and it holds no information about new rows.

    Args:
        known: dates and categorical columns, which are left out.
    """
    if len(table.lines) < _LEAST:
        return
    found = [c for c in features if c not in known and _looks_like_id(table, c)]
    if found:
        names = ", ".join(table.called(c) for c in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        what = "look like ids: each has" if len(found) > 1 else "looks like an id: it has"
        option = shortened(table.names[found[0]], 60)
        warnings.warn(
            f"column{'s' if len(found) > 1 else ''} {names}{more} of {table.path} {what} a different whole number in "
            f"every row; leave it out with --ignore {option!r} (in Python: ignore=[...]) unless it is a quantity",
            ColumnWarning,
            stacklevel=2,
        )


def advice(table: Table, column: int, values: Sequence[str], most: int) -> str:
    """Advice for a text column with too many values; up to ``most`` values can be named as categorical."""
    ignore = f"--ignore {shortened(table.names[column], 60)!r}"
    if dates.is_date(values[len(values) // 2]):
        return (
            f"it holds dates: turn them into numbers with --date {shortened(table.names[column], 60)!r}, or leave the "
            f"column out with {ignore} (in Python: date=[...] or ignore=[...])"
        )
    if len(set(table.columns[column])) == len(table.lines):
        return f"it looks like an id, different in every row: leave it out with {ignore} (in Python: ignore=[...])"
    if len(values) <= most:
        return (
            f"if they are categories, add --categorical {shortened(table.names[column], 60)!r}, or leave it out with "
            f"{ignore} (in Python: categorical=[...] or ignore=[...])"
        )
    return f"leave it out with {ignore} (in Python: ignore=[...]) or turn it into numbers"


def _looks_like_id(table: Table, column: int) -> bool:
    cells = table.columns[column]
    if any("." in cell or "e" in cell for cell in cells[:_LEAST]) or table.is_text(column):
        return False
    missing = table.missing(column)
    if missing.any():
        return False
    values = table.numbers(column)
    if (values != np.round(values)).any():
        return False
    # Different numbers of twenty digits can be the same float, so the cells themselves are compared.
    if len(set(cells)) < len(cells):
        return False
    steps = np.diff(values)
    ordered = bool((steps >= 0).all() or (steps <= 0).all())
    counting = float(values.max() - values.min()) == len(values) - 1
    return ordered or counting or _NAMED.fullmatch(table.names[column]) is not None
