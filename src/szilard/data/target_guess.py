"""Infer the type of the target columns of a table: classes, binary labels or quantities."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from szilard.data import cells, targets
from szilard.data.column_warnings import ColumnWarning
from szilard.data.table import Table
from szilard.data.target_readers import CLASSES, LABELS, QUANTITIES, TargetReader, reader_of
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import DataTargets

MOST_CLASSES = 20  # whole numbers with more different values than this are treated as a quantity
_UNIT = re.compile(
    r"(?P<before>[^\d\s.,+-]{0,4}\s?)[+-]?\d[\d.,' ]*(?P<after>\s?[^\d\s.,+-]{0,6}(?:/\w{1,4})?)"
)
_MOST_UNITS = 3  # different units that a column of quantities can have, such as g and kg


def of_one(
    table: Table, column: int, target_type: DataTargets | None
) -> tuple[DataTargets, Tensor, tuple[str, ...]]:
    """Type of the targets, targets ``[N]`` (``[N, 1]`` for one binary label) and names of the classes.

    Args:
        target_type: as given by the user; None to infer it.
    """
    reader = _inferred(table, column) if target_type is None else reader_of(target_type)
    y, classes = reader.of_column(table, column)
    return reader.target_type, y, classes


def of_several(
    table: Table, columns: Sequence[int], target_type: DataTargets | None
) -> tuple[DataTargets, Tensor]:
    """Type of the targets, and quantities float64 ``[N, k]`` or binary labels int64 ``[N, k]``.

    Raises:
        SzilardError: text, a missing cell, a mix of labels and quantities, or a task for a single target.
    """
    reader = _inferred_from_columns(table, columns) if target_type is None else reader_of(target_type)
    return reader.target_type, reader.of_columns(table, columns)


def _inferred(table: Table, column: int) -> TargetReader:
    if table.is_text(column):
        _refuse_units(table, column)
        return CLASSES
    if table.partly_text(column):
        row = next(row for row, cell in enumerate(table.columns[column]) if not cells.is_number(cell))
        raise SzilardError(
            f"column {table.called(column)} of {table.path} has numbers and other cells, such as "
            f"{shortened(table.columns[column][row], 60)!r} in line {table.lines[row]}; add --task classification if "
            "all of them are classes (in Python: task='classification'), or fix the cells"
        )
    return CLASSES if _like_classes(table.numbers(column)) else QUANTITIES


def _inferred_from_columns(table: Table, columns: Sequence[int]) -> TargetReader:
    values = np.stack([targets.numbers(table, column) for column in columns], 1)
    binary = [bool(np.isin(values[:, n], (0, 1)).all()) for n in range(len(columns))]
    if all(binary):
        _warn_one_hot(table, columns, values)
        return LABELS
    if any(binary):
        label, quantity = columns[binary.index(True)], columns[binary.index(False)]
        raise SzilardError(
            f"--target names both labels, such as {table.called(label)} of {table.path}, whose cells are 0 or 1, and "
            f"quantities, such as {table.called(quantity)}; predict one kind at a time, or add --task regression to "
            "treat all of them as quantities (in Python: target and task='regression')"
        )
    few = [n for n in range(len(columns)) if _like_classes(values[:, n])]
    if few:
        names = ", ".join(table.called(columns[n]) for n in few)
        warnings.warn(
            f"{names} of {table.path} have few different whole numbers and are treated as quantities; if these are "
            "classes, predict each column alone, else add --task regression (in Python: task='regression')",
            ColumnWarning,
            stacklevel=2,
        )
    return QUANTITIES


def _refuse_units(table: Table, column: int) -> None:
    """Raise for numbers with a unit or a currency, if there are too many different ones to be classes."""
    cells = set(table.columns[column])
    if len(cells) <= MOST_CLASSES:
        return
    found = [_UNIT.fullmatch(cell.strip()) for cell in cells]
    units = {(one["before"].strip(), one["after"].strip()) for one in found if one is not None}
    if None not in found and len(units) <= _MOST_UNITS:
        shown = shortened(table.columns[column][0], 60)
        raise SzilardError(
            f"column {table.called(column)} of {table.path} is text such as {shown!r}, which looks like a "
            "quantity with a unit; write the numbers alone, or use task='classification' if these are classes"
        )


def _like_classes(values: np.ndarray) -> bool:
    return bool((values == np.round(values)).all()) and len(np.unique(values)) <= MOST_CLASSES


def _warn_one_hot(table: Table, columns: Sequence[int], values: np.ndarray) -> None:
    if len(columns) > 1 and bool((values.sum(1) == 1).all()):
        warnings.warn(
            f"in every row of {table.path} exactly one of {len(columns)} labels is 1, as in a one-hot code of a class; "
            "they are predicted as independent labels: put the class into one column if that is wrong",
            ColumnWarning,
            stacklevel=2,
        )
