"""What the target columns of a table hold, where the user does not say: classes, labels or quantities."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from szilard.data import cells, targets
from szilard.data.suspects import Suspicion
from szilard.data.table import Table
from szilard.data.target_readers import CLASSES, LABELS, QUANTITIES, TargetReader, reader_of
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import DataTargets

MOST_CLASSES = 20  # whole numbers with more different values than this are taken for a quantity
_UNIT = re.compile(
    r"(?P<before>[^\d\s.,+-]{0,4}\s?)[+-]?\d[\d.,' ]*(?P<after>\s?[^\d\s.,+-]{0,6}(?:/\w{1,4})?)"
)
_MOST_UNITS = 3  # that one column of quantities may have: g and kg


def of_one(
    table: Table, column: int, target_type: DataTargets | None
) -> tuple[DataTargets, Tensor, tuple[str, ...]]:
    """Type of the targets, targets ``[N]`` (``[N, 1]`` for one label that is there or not) and names of the classes.

    Args:
        target_type: as the user says; None to find out.
    """
    reader = _found(table, column) if target_type is None else reader_of(target_type)
    y, classes = reader.of_column(table, column)
    return reader.target_type, y, classes


def of_several(
    table: Table, columns: Sequence[int], target_type: DataTargets | None
) -> tuple[DataTargets, Tensor]:
    """Quantities float64 ``[N, k]``, or labels that are each there or not, int64 ``[N, k]``.

    Raises:
        SzilardError: text, a missing cell, labels beside quantities, or a task that one target has.
    """
    reader = _found_of_several(table, columns) if target_type is None else reader_of(target_type)
    return reader.target_type, reader.of_columns(table, columns)


def _found(table: Table, column: int) -> TargetReader:
    if table.is_text(column):
        _refuse_units(table, column)
        return CLASSES
    if table.partly_text(column):
        row = next(row for row, cell in enumerate(table.columns[column]) if not cells.is_number(cell))
        raise SzilardError(
            f"column {table.called(column)} of {table.path} has numbers and other cells, such as "
            f"{shortened(table.columns[column][row], 60)!r} in line {table.lines[row]}; add --task classification if "
            "all of them are classes (in Python: task='classification'), or mend the cells"
        )
    return CLASSES if _like_classes(table.numbers(column)) else QUANTITIES


def _found_of_several(table: Table, columns: Sequence[int]) -> TargetReader:
    values = np.stack([targets.numbers(table, column) for column in columns], 1)
    binary = [bool(np.isin(values[:, n], (0, 1)).all()) for n in range(len(columns))]
    if all(binary):
        _warn_one_hot(table, columns, values)
        return LABELS
    if any(binary):
        label, quantity = columns[binary.index(True)], columns[binary.index(False)]
        raise SzilardError(
            f"--target names labels, such as {table.called(label)} of {table.path}, whose cells are 0 or 1, beside "
            f"quantities, such as {table.called(quantity)}; predict one kind at a time, or add --task regression to "
            "take all of them for quantities (in Python: target and task='regression')"
        )
    few = [n for n in range(len(columns)) if _like_classes(values[:, n])]
    if few:
        names = ", ".join(table.called(columns[n]) for n in few)
        warnings.warn(
            f"{names} of {table.path} hold few different whole numbers and are taken for quantities; if these are "
            "classes, predict each column alone, else add --task regression (in Python: task='regression')",
            Suspicion,
            stacklevel=2,
        )
    return QUANTITIES


def _refuse_units(table: Table, column: int) -> None:
    """Numbers with a unit or a currency, too many of them to be classes."""
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
            f"in every row of {table.path} exactly one of {len(columns)} labels is 1, as where they stand for one "
            "class; they are predicted as labels that may hold at once: put the class into one column if that is wrong",
            Suspicion,
            stacklevel=2,
        )
