"""Read your own table: one row per example, and one or several target columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from szilard.data import column_warnings, group_time_splits, target_guess
from szilard.data.columns import find_columns
from szilard.data.dataset import Split
from szilard.data.files import path_of
from szilard.data.missing import complete_rows
from szilard.data.raw import Raw, Request
from szilard.data.reading import MISSING
from szilard.data.roles import Roles, roles_of
from szilard.data.splits import split_indices, subset
from szilard.data.table import Table
from szilard.data.table_reading import read_table
from szilard.data.target_readers import reader_of
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import DataTargets

FRACTIONS = (0.15, 0.15)


def read_csv(request: Request) -> Raw:
    """Split 70/15/15 % into train, validation and test: by seed and stratified by class, or by ``group`` or ``time``.

    * The task is classification if the target is text, or whole numbers with at most 20 different values;
      ``task`` overrides this. Classes are the different values of the column, sorted.
    * Several targets, separated by commas, are quantities, or binary labels if all their cells are 0 or 1 (or true or
      false). The split is stratified by combinations of labels.
    * A text feature becomes one 0/1 column for each value in the training rows ("colour=red"); other values become
      zeros in all of them. More than 32 different values are an error.
    * A column named in ``categorical`` is read like text, with up to 256 values.
    * A column named in ``date`` becomes numbers ("when:days", "when:year_sin", ...).
    * Columns named in ``ignore``, ``group`` and ``time`` are not features.
    * Missing cells: see :mod:`szilard.data.missing`. Columns that look like ids give a warning.

    Raises:
        SzilardError: no such column, missing or non-numeric cells (reported with line and column), ...
    """
    if request.missing not in MISSING:
        raise SzilardError(
            f"missing must be {', '.join(map(repr, MISSING[:-1]))} or {MISSING[-1]!r}, not {request.missing!r}"
        )
    table = read_table(path_of(request.name), request.decimal)
    roles = roles_of(table, request)
    table = table.take(complete_rows(table, roles.features, roles.needed, request.missing))
    classes: tuple[str, ...] = ()
    if len(roles.targets) > 1:
        target_type, y = target_guess.of_several(table, roles.targets, request.target_type)
    else:
        target_type, y, classes = target_guess.of_one(table, roles.targets[0], request.target_type)
    reader = reader_of(target_type)
    train, valid, test = split_rows(table, roles, y, request, target_type)
    train = train[subset(y[train], request.n_train, request.seed, balanced=reader.balanced)]
    reader.check_training_rows(table, y, train, classes, request)
    column_warnings.warn_of_ids(table, roles.features, {*roles.dates, *roles.categorical})
    reading = replace(find_columns(table, roles, train.numpy()), missing=request.missing)
    x = reading.encode(table)
    if request.missing == "mean":
        x = _filled(table, x, train.numpy(), reading.feature_names)
    features = torch.from_numpy(x)
    return Raw(
        task=target_type.name,
        train=Split(features[train], y[train]),
        valid=Split(features[valid], y[valid]),
        test=Split(features[test], y[test]),
        classes=classes,
        targets=tuple(table.names[column] for column in roles.targets) if y.dim() > 1 else (),
        feature_names=reading.feature_names,
        column_groups=reading.groups,
        reading=reading,
    )


def split_rows(
    table: Table, roles: Roles, y: Tensor, request: Request, target_type: DataTargets
) -> list[Tensor]:
    """Indices of the training, validation and test rows, each ascending.

    Args:
        y: targets of all rows.
    """
    if roles.group is not None:
        what = f"column {table.called(roles.group)} of {table.path}"
        return group_time_splits.split_by_group(table.columns[roles.group], FRACTIONS, request.seed, what)
    if roles.time is not None:
        what = f"column {table.called(roles.time)} of {table.path}"
        return group_time_splits.split_by_time(roles.times(table), FRACTIONS, what)
    strata = reader_of(target_type).strata(y)
    return split_indices(
        y if strata is None else strata, FRACTIONS, request.seed, stratify=strata is not None
    )


def _filled(table: Table, x: np.ndarray, train: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    gaps = np.isnan(x)
    known = ~gaps[train]
    counts = known.sum(0)
    if not counts.all():
        name = shortened(names[int(counts.argmin())], 60)
        raise SzilardError(
            f"column {name!r} of {table.path} is missing in every training row and has no mean; leave it out with "
            "--ignore (in Python: ignore=[...])"
        )
    means = np.where(known, x[train], 0).sum(0) / counts
    return np.where(gaps, means, x)
