"""Rows with missing cells: an error, left out, or filled with the mean of the training rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from szilard.data.table import Table
from szilard.errors import SzilardError, SzilardWarning, shortened

_SHOWN = 8  # columns and lines in a message


def complete_rows(table: Table, inputs: Sequence[int], needed: Sequence[int], policy: str) -> np.ndarray:
    """Indices of the rows that are kept.

    Args:
        inputs: feature columns; with "mean" their missing cells are filled later.
        needed: columns whose missing cells cannot be filled: target, group, time.
        policy: "refuse", "drop" or "mean".

    Raises:
        SzilardError: missing cells with "refuse", reported with counts per column; or no row is left.
    """
    found = {column: table.missing(column) for column in (*inputs, *needed)}
    found = {column: missing for column, missing in found.items() if missing.any()}
    n = len(table.lines)
    if not found:
        return np.arange(n)
    if policy == "refuse":
        row = min(int(missing.argmax()) for missing in found.values())
        column = min(column for column, missing in found.items() if missing[row])
        raise SzilardError(
            f"line {table.lines[row]}, column {table.called(column)} of {table.path} is missing"
            f"{_word(table.columns[column][row])}; {_counts(table, found, verb=True)}: fill them in, or add --missing "
            "drop to leave such rows out or --missing mean to fill in means (in Python: missing='drop' or 'mean')"
        )
    deciding = needed if policy == "mean" else (*inputs, *needed)
    dropped = np.zeros(n, dtype=bool)
    for column in deciding:
        dropped |= found.get(column, False)
    actions = []
    if dropped.any():
        actions.append(f"{dropped.sum()} of {n} rows with a missing cell are left out")
    filled = {column: missing & ~dropped for column, missing in found.items() if column not in deciding}
    filled = {column: missing for column, missing in filled.items() if missing.any()}
    if filled:
        which = f"{_counts(table, filled)} are" if actions else "they are"
        actions.append(f"{which} filled with the mean of the training rows")
    warnings.warn(
        f"{table.path} has {_counts(table, found)}; {' and '.join(actions)} (--missing {policy})",
        SzilardWarning,
        stacklevel=2,
    )
    if dropped.all():
        raise SzilardError(
            f"every row of {table.path} has a missing cell, and none is left; leave out a column with --ignore, "
            f"for instance {table.called(max(found, key=lambda c: found[c].sum()))}, or add --missing mean "
            "(in Python: ignore=[...] or missing='mean')"
        )
    return (~dropped).nonzero()[0]


def rows_to_predict(
    table: Table, x: np.ndarray, policy: str, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Handle missing cells in new rows for a trained network.

    Args:
        x: features ``[N, D]``, NaN where a cell is missing.
        policy: "refuse", "drop" or "mean", as in training.
        means: ``[D]``, of the training rows.

    Returns:
        the complete or filled rows, and their indices in ``x``.

    Raises:
        SzilardError: missing cells with "refuse".
    """
    gaps = np.isnan(x)
    if not gaps.any():
        return x, np.arange(len(x))
    rows = gaps.any(1).nonzero()[0]
    lines = _listed([str(table.lines[row]) for row in rows.tolist()])
    if policy == "refuse":
        row = int(rows[0])
        column = next((c for c in range(len(table.names)) if table.missing(c)[row]), 0)
        raise SzilardError(
            f"line {table.lines[row]}, column {table.called(column)} of {table.path} is missing"
            f"{_word(table.columns[column][row])}, as are cells in {len(rows)} of {len(x)} rows; fill them in, or "
            "train the network with --missing drop or --missing mean (in Python: missing='drop' or 'mean')"
        )
    if policy == "drop":
        warnings.warn(
            f"{len(rows)} of {len(x)} rows of {table.path} have a missing cell and are left out, as in training "
            f"(--missing drop): lines {lines}",
            SzilardWarning,
            stacklevel=2,
        )
        kept = (~gaps.any(1)).nonzero()[0]
        return x[kept], kept
    warnings.warn(
        f"missing cells in {len(rows)} of {len(x)} rows of {table.path} are filled with the mean of the training rows "
        f"(--missing mean): lines {lines}",
        SzilardWarning,
        stacklevel=2,
    )
    return np.where(gaps, means, x), np.arange(len(x))


def _word(cell: str) -> str:
    """The cell if it is a word such as "none", which the user may have meant as a value."""
    if not cell:
        return ""
    return f" ({shortened(cell, 20)!r} means a missing value; if it is a value, write it differently)"


def _counts(table: Table, found: dict[int, np.ndarray], *, verb: bool = False) -> str:
    parts = [f"{missing.sum()} in {table.called(column)}" for column, missing in found.items()]
    total = sum(int(missing.sum()) for missing in found.values())
    start = ("there is " if total == 1 else "there are ") if verb else ""
    return f"{start}{total} missing cell{'s' if total > 1 else ''} ({_listed(parts)})"


def _listed(parts: list[str]) -> str:
    shown = ", ".join(parts[:_SHOWN])
    return shown if len(parts) <= _SHOWN else f"{shown} and {len(parts) - _SHOWN:,} more"
