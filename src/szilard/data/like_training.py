"""A new table for a trained network: columns and classes are those of its training table."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from szilard.data import check, unseen
from szilard.data.csv_file import split_rows
from szilard.data.dataset import DataSet, Split, Task, standardised
from szilard.data.files import path_of
from szilard.data.missing import complete_rows
from szilard.data.raw import Raw, Request
from szilard.data.reading import Reading
from szilard.data.roles import roles_of
from szilard.data.table import Table, listed
from szilard.data.table_reading import read_table
from szilard.data.target_readers import reader_of
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import DataTargets, of_data


@dataclass(frozen=True, eq=False)
class TrainingTable:
    """What a saved network stores about the table that it was trained on.

    Attributes:
        what: name of the network, for messages.
        task, classes, reading, targets: as in :class:`szilard.data.DataSet`.
        shift, scale, target_shift, target_scale: its normalisation.
    """

    what: str
    task: Task
    classes: tuple[str, ...]
    reading: Reading
    shift: Tensor
    scale: Tensor
    target_shift: float | Tensor = 0.0
    target_scale: float | Tensor = 1.0
    targets: tuple[str, ...] = ()

    @property
    def target_type(self) -> DataTargets:
        return of_data(self.task)


def read_like(request: Request, like: TrainingTable) -> Raw:
    """Read a table as :func:`szilard.data.csv_file.read_csv` does, with features and classes found by name.

    Classes and categories can be absent and columns can be constant, but a class that the network does not have is an
    error. Category values that training has not seen and missing cells give the warnings of ``szilard predict``. If the
    table has no column ``group`` or ``time``, its rows are split at random.

    Raises:
        SzilardError: a feature column is missing, a class is unknown to the network, or a cell cannot be read.
    """
    table = read_table(path_of(request.name), request.decimal, usual=like.reading.decimal)
    features = [_index(table, column.name, like) for column in like.reading.columns]
    request = _with_columns_of(table, request)
    roles = roles_of(table, request)
    table = table.take(complete_rows(table, features, roles.needed, like.reading.missing))
    x = like.reading.encode(table)
    x = np.where(np.isnan(x), like.shift.double().numpy(), x)
    unseen.warn(like.reading, x, table.lines, str(table.path))
    y = _targets(table, roles.targets, like)
    inputs = torch.from_numpy(x)
    parts = split_rows(table, roles, y, request, like.target_type)
    train, valid, test = (Split(inputs[part], y[part]) for part in parts)
    return Raw(
        task=like.task,
        train=train,
        valid=valid,
        test=test,
        classes=like.classes,
        targets=like.targets,
        feature_names=like.reading.feature_names,
        column_groups=like.reading.groups,
        reading=like.reading,
    )


def assemble_like(name: str, raw: Raw, like: TrainingTable) -> DataSet:
    """Normalise a new table with the shift and scale that are stored with a network.

    Raises:
        SzilardError: an empty part, or values that overflow after normalisation.
    """
    parts = {"train": raw.train, "valid": raw.valid, "test": raw.test}
    for part, split in parts.items():
        check.same_length(split.x, split.y, f"{part} part of {name}")

    def normalised(x: Tensor) -> Tensor:
        return standardised(x, like.shift, like.scale)

    for part, split in parts.items():
        y = like.target_type.standardised(split.y, like.target_shift, like.target_scale)
        parts[part] = Split(normalised(split.x), y)
        check.finite(parts[part].x, f"{part} part of {name}, standardised as in training,")
        check.finite(y, f"{part} targets of {name}, standardised as in training,")
    ood = (
        None if raw.ood is None else Split(normalised(raw.ood), torch.zeros(len(raw.ood), dtype=torch.int64))
    )
    return DataSet(
        name=name,
        task=like.task,
        train=parts["train"],
        valid=parts["valid"],
        test=parts["test"],
        ood=ood,
        ood_name=raw.ood_name,
        classes=like.classes,
        shift=like.shift,
        scale=like.scale,
        target_shift=like.target_shift,
        target_scale=like.target_scale,
        feature_names=raw.feature_names,
        reading=raw.reading,
        targets=like.targets,
    )


def _index(table: Table, name: str, like: TrainingTable) -> int:
    if name not in table.names:
        raise SzilardError(
            f"{table.path} has no column {shortened(name, 60)!r}, which {like.what} was trained on; it has "
            f"{listed(table.names)}"
        )
    return table.names.index(name)


def _with_columns_of(table: Table, request: Request) -> Request:
    """The request without ignored, date, categorical, group and time columns that this table does not have."""

    def exists(name: str | None) -> bool:
        return name is not None and (name in table.names or name.rpartition("=")[0] in table.names)

    return replace(
        request,
        ignore=tuple(filter(exists, request.ignore)),
        date=tuple(filter(exists, request.date)),
        categorical=tuple(filter(exists, request.categorical)),
        group=request.group if exists(request.group) else None,
        time=request.time if exists(request.time) else None,
    )


def _targets(table: Table, columns: tuple[int, ...], like: TrainingTable) -> Tensor:
    """``[N]``, or ``[N, k]`` for several targets or labels, in the units of the table."""
    reader = reader_of(like.target_type)
    if like.targets:
        names = tuple(table.names[column] for column in columns)
        if names != like.targets:
            raise SzilardError(
                f"{like.what} was trained on the targets {listed(like.targets)}, and --target names {listed(names)}; "
                "name the same ones in the same order, or leave --target out"
            )
        return reader.of_columns(table, columns)
    return reader.of_known(table, columns[0], like.classes, like.what)
