"""A user's own table: one row an example, one column the target."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from szilard.data.dataset import Split, Task
from szilard.data.files import path_of
from szilard.data.raw import Raw, Request
from szilard.data.splits import carve, subset
from szilard.data.table import Table, listed, read_table
from szilard.errors import SzilardError, shortened

MOST_CLASSES = 20  # whole numbers with more different values than this are taken for a quantity
MOST_CATEGORIES = 32  # text features with more different values than this are taken for names or free text
FRACTIONS = (0.15, 0.15)


def read_csv(request: Request) -> Raw:
    """70 % train, 15 % valid, 15 % test by seed (classes in proportion).

    * Classification when the target is text, or whole numbers with at most 20 different values;
      ``task`` overrides. Classes are the different values of the column, sorted.
    * A text feature becomes one 0/1 column for each value seen in training rows ("colour=red"); a value
      that is only seen elsewhere is all zeros. More than 32 different values are refused.

    Raises:
        SzilardError: no such column, missing or non-numeric cells (named by line and column), ...
    """
    table = read_table(path_of(request.name))
    if request.target is None:
        raise SzilardError(
            f"name the column of {table.path} to predict as target; it has {listed(table.names)}"
        )
    target = table.index(request.target)
    if len(table.names) < 2:
        raise SzilardError(
            f"{table.path} has only the column {table.names[0]!r}; add columns to predict it from"
        )
    task, y, classes = _target(table, target, request.task)
    train, valid, test = carve(y, FRACTIONS, request.seed, stratify=task == "classification")
    train = train[subset(y[train], request.n_train, request.seed, balanced=task == "classification")]
    x, names, groups = _features(table, target, train)
    return Raw(
        task=task,
        train=Split(x[train], y[train]),
        valid=Split(x[valid], y[valid]),
        test=Split(x[test], y[test]),
        classes=classes,
        feature_names=names,
        column_groups=groups,
    )


def _target(table: Table, column: int, task: Task | None) -> tuple[Task, Tensor, tuple[str, ...]]:
    name = shortened(table.names[column], 60)
    if table.is_text(column):
        if task == "regression":
            raise SzilardError(
                f"column {name!r} of {table.path} is text and no quantity; use task='classification'"
            )
        # Not as a NumPy array, in which every cell takes as much as the longest one.
        cells = table.texts(column)
        classes = tuple(sorted(set(cells)))
        number = {label: i for i, label in enumerate(classes)}
        return "classification", torch.tensor([number[cell] for cell in cells]), classes
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
    index = np.searchsorted(distinct, values)
    return task, torch.from_numpy(index.astype(np.int64)), tuple(f"{value:.0f}" for value in distinct)


def _features(table: Table, target: int, train: Tensor) -> tuple[Tensor, tuple[str, ...], tuple[int, ...]]:
    """``[N, D]`` float64 and, for each column, its name and the column of the file it came from."""
    columns: list[np.ndarray] = []
    names: list[str] = []
    groups: list[int] = []
    for i, name in enumerate(table.names):
        if i == target:
            continue
        if table.is_text(i):
            encoded = _one_hot(table, i, train)
            columns += encoded.values()
            names += [f"{name}={value}" for value in encoded]
            groups += [i] * len(encoded)
        else:
            columns.append(table.numbers(i))
            names.append(name)
            groups.append(i)
    return torch.from_numpy(np.stack(columns, 1)), tuple(names), tuple(groups)


def _one_hot(table: Table, column: int, train: Tensor) -> dict[str, np.ndarray]:
    cells = table.texts(column)
    values = sorted({cells[row] for row in train.tolist()})
    if len(values) > MOST_CATEGORIES:
        raise SzilardError(
            f"column {shortened(table.names[column], 60)!r} of {table.path} is text "
            f"with {len(values)} different values (at most {MOST_CATEGORIES} are turned into 0/1 columns); "
            "remove it or turn it into numbers"
        )
    return {value: np.array([cell == value for cell in cells], dtype=np.float64) for value in values}
