"""The columns of a table that are predicted: one class or quantity, several quantities, or labels that are each there
or not."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from szilard.data import cells, labels
from szilard.data.dataset import Task
from szilard.data.suspects import Suspicion
from szilard.data.table import Table, listed
from szilard.errors import SzilardError, shortened

MOST_CLASSES = 20  # whole numbers with more different values than this are taken for a quantity
_UNIT = re.compile(
    r"(?P<before>[^\d\s.,+-]{0,4}\s?)[+-]?\d[\d.,' ]*(?P<after>\s?[^\d\s.,+-]{0,6}(?:/\w{1,4})?)"
)
_MOST_UNITS = 3  # that one column of quantities may have: g and kg
_WORDS = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}  # as programs and people write 1 and 0


def named(text: str) -> list[str]:
    """The names in what stands behind ``--target``."""
    try:
        found = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a zero byte, more letters than a name may have
        found = [text]
    return [name for name in map(str.strip, found) if name]


def chosen(table: Table, text: str) -> tuple[int, ...]:
    """Numbers of the columns that ``--target`` names: one, or several with commas between them.

    A name that has a comma in it stands in quotes beside others: ``'"a,b",c'``.

    Raises:
        SzilardError: no such column, or one that is named twice.
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


def of_one(table: Table, column: int, task: Task | None) -> tuple[Task, Tensor, tuple[str, ...]]:
    """Task, targets ``[N]`` (``[N, 1]`` for one label that is there or not) and names of the classes."""
    name = shortened(table.names[column], 60)
    if task == "multilabel":
        return "multilabel", _labels(table, (column,)), ()
    if table.is_text(column) or (task == "classification" and _partly(table, column)):
        if task == "regression":
            shown = shortened(table.columns[column][0], 60)
            raise SzilardError(
                f"column {name!r} of {table.path} is text and no quantity, such as {shown!r}; write the numbers "
                "alone, without units, or use task='classification' for classes"
            )
        if task is None:
            _refuse_units(table, column)
        # Not as a NumPy array, in which every cell takes as much as the longest one.
        texts = table.texts(column)
        classes = tuple(sorted(set(texts)))
        number = {label: i for i, label in enumerate(classes)}
        return "classification", torch.tensor([number[text] for text in texts]), classes
    if task is None and _partly(table, column):
        row = next(row for row, cell in enumerate(table.columns[column]) if not cells.is_number(cell))
        raise SzilardError(
            f"column {table.called(column)} of {table.path} has numbers and other cells, such as "
            f"{shortened(table.columns[column][row], 60)!r} in line {table.lines[row]}; add --task classification if "
            "all of them are classes (in Python: task='classification'), or mend the cells"
        )
    values = table.numbers(column)
    whole = values == np.round(values)
    distinct = np.unique(values)
    if task is None:
        task = "classification" if whole.all() and len(distinct) <= MOST_CLASSES else "regression"
    if task == "regression":
        return task, torch.from_numpy(values), ()
    if not whole.all():
        row = int(np.argmin(whole))
        raise SzilardError(
            f"line {table.lines[row]}, column {name!r} of {table.path} is {shortened(table.columns[column][row], 60)}, "
            "which is no class label; use whole numbers or text, or task='regression' for a quantity"
        )
    return task, *labels.of_numbers(table.columns[column], values)


def _partly(table: Table, column: int) -> bool:
    """Whether some cells are numbers and some text; missing ones are neither."""
    if table.plain(column) is not None:
        return False
    there = [cell for cell in table.columns[column] if not cells.is_missing(cell)]
    numbers = sum(map(cells.is_number, there))
    return 0 < numbers < len(there)


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


def of_several(table: Table, columns: Sequence[int], task: Task | None) -> tuple[Task, Tensor]:
    """Quantities float64 ``[N, k]``, or labels that are each there or not, int64 ``[N, k]``.

    Raises:
        SzilardError: text, a missing cell, labels beside quantities, or a task that one target has.
    """
    if task == "classification":
        raise SzilardError(
            f"--task classification is for one target, and --target names {len(columns)}; leave --task out, or name "
            "one column (in Python: task and target)"
        )
    if task == "multilabel":
        return task, _labels(table, columns)
    values = np.stack([numbers(table, column) for column in columns], 1)
    if task == "regression":
        return task, torch.from_numpy(values)
    binary = [bool(np.isin(values[:, n], (0, 1)).all()) for n in range(len(columns))]
    if all(binary):
        _warn_one_hot(table, columns, values)
        return "multilabel", torch.from_numpy(values).long()
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
    return "regression", torch.from_numpy(values)


def _labels(table: Table, columns: Sequence[int]) -> Tensor:
    values = np.stack([numbers(table, column) for column in columns], 1)
    wrong = ~np.isin(values, (0, 1))
    if wrong.any():
        row, n = (int(index[0]) for index in wrong.nonzero())
        cell = shortened(table.columns[columns[n]][row], 60)
        raise SzilardError(
            f"line {table.lines[row]}, column {table.called(columns[n])} of {table.path} is {cell!r}, and labels that "
            "are there or not must be 0 or 1; mend it, or use task='regression' for quantities"
        )
    return torch.from_numpy(values).long()


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
