"""A user's own table: one row an example, one column the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from szilard.data import apart, labels, suspects
from szilard.data.columns import find_columns
from szilard.data.dataset import Split, Task
from szilard.data.files import path_of
from szilard.data.missing import complete_rows
from szilard.data.raw import Raw, Request
from szilard.data.reading import MISSING
from szilard.data.roles import Roles, roles_of
from szilard.data.splits import carve, subset
from szilard.data.table import Table, read_table
from szilard.errors import SzilardError, shortened

MOST_CLASSES = 20  # whole numbers with more different values than this are taken for a quantity
FRACTIONS = (0.15, 0.15)


def read_csv(request: Request) -> Raw:
    """70 % train, 15 % valid, 15 % test by seed (classes in proportion), or by ``group`` or ``time``.

    * Classification when the target is text, or whole numbers with at most 20 different values;
      ``task`` overrides. Classes are the different values of the column, sorted.
    * A text feature becomes one 0/1 column for each value seen in training rows ("colour=red"); a value
      that is only seen elsewhere is all zeros. More than 32 different values are refused.
    * A column named in ``categorical`` is read as text is, up to 256 values.
    * A column named in ``date`` becomes numbers ("when:days", "when:year_sin", ...).
    * Columns of ``ignore``, ``group`` and ``time`` are no features.
    * Missing cells: see :mod:`szilard.data.missing`. Columns that look like an id are warned about.

    Raises:
        SzilardError: no such column, missing or non-numeric cells (named by line and column), ...
    """
    if request.missing not in MISSING:
        raise SzilardError(
            f"missing must be {', '.join(map(repr, MISSING[:-1]))} or {MISSING[-1]!r}, not {request.missing!r}"
        )
    table = read_table(path_of(request.name), request.decimal)
    roles = roles_of(table, request)
    table = table.take(complete_rows(table, roles.features, roles.needed, request.missing))
    task, y, classes = _target(table, roles.target, request.task)
    train, valid, test = divided(table, roles, y, request, task)
    train = train[subset(y[train], request.n_train, request.seed, balanced=task == "classification")]
    if task == "classification":
        labels.refuse_untaught(table, y, train, classes, request)
    suspects.warn_of_ids(table, roles.features, {*roles.dates, *roles.categorical})
    reading = replace(find_columns(table, roles, train.numpy()), missing=request.missing)
    x = reading.encode(table)
    if request.missing == "mean":
        x = _filled(table, x, train.numpy(), reading.feature_names)
    features = torch.from_numpy(x)
    return Raw(
        task=task,
        train=Split(features[train], y[train]),
        valid=Split(features[valid], y[valid]),
        test=Split(features[test], y[test]),
        classes=classes,
        feature_names=reading.feature_names,
        column_groups=reading.groups,
        reading=reading,
    )


def divided(table: Table, roles: Roles, y: Tensor, request: Request, task: Task) -> list[Tensor]:
    """Numbers of the training, validation and test rows, each ascending.

    Args:
        y: of all rows.
    """
    if roles.group is not None:
        what = f"column {table.called(roles.group)} of {table.path}"
        return apart.carve_groups(table.columns[roles.group], FRACTIONS, request.seed, what)
    if roles.time is not None:
        what = f"column {table.called(roles.time)} of {table.path}"
        return apart.carve_time(roles.times(table), FRACTIONS, what)
    return carve(y, FRACTIONS, request.seed, stratify=task == "classification")


def _filled(table: Table, x: np.ndarray, train: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    gaps = np.isnan(x)
    known = ~gaps[train]
    counts = known.sum(0)
    if not counts.all():
        name = shortened(names[int(counts.argmin())], 60)
        raise SzilardError(
            f"column {name!r} of {table.path} is missing in every training row, so that it has no mean; leave it out "
            "with --ignore (in Python: ignore=[...])"
        )
    means = np.where(known, x[train], 0).sum(0) / counts
    return np.where(gaps, means, x)


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
    return task, *labels.of_numbers(table.columns[column], values)
