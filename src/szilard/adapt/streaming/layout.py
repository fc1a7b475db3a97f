"""Which columns of a file are features, target and time; it stays the same for later files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from szilard.adapt.features import MOST_VALUES
from szilard.adapt.streaming.settings import StreamSettings
from szilard.data import column_warnings, target_guess
from szilard.data.raw import Request
from szilard.data.roles import order_of, roles_of
from szilard.data.table import LETTERS, Table
from szilard.errors import SzilardError, SzilardWarning, shortened
from szilard.likelihood import targets

NUMBER, TEXT, DATE = "number", "text", "date"
MOST_LISTED = 20  #: classes that get a column of probabilities


@dataclass(frozen=True)
class Feature:
    """A column that is a feature or the time.

    Attributes:
        kind: "number", "text" or "date".
        order: of day and month in dates.
    """

    name: str
    kind: str
    order: str = "dmy"


@dataclass(frozen=True)
class Layout:
    """The columns of the first file of a stream.

    Attributes:
        task: "classification" or "regression".
        time: the column by which rows are ordered, or None.
        classes: those of the first file that get a column of probabilities.
        mark: its decimal mark, if it has one.
    """

    target: str
    task: str
    features: tuple[Feature, ...]
    time: Feature | None
    classes: tuple[str, ...]
    mark: str | None = None

    @property
    def of_numbers(self) -> bool:
        """Whether the target is a number, and not a class."""
        return targets.of_data(self.task).in_units

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "target": self.target,
            "task": self.task,
            "features": [[one.name, one.kind, one.order] for one in self.features],
            "time": None if self.time is None else [self.time.name, self.time.kind, self.time.order],
            "classes": list(self.classes),
            "mark": self.mark,
        }

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> Layout:
        """From :meth:`plain`; raises ValueError or TypeError if it is damaged."""
        time = plain["time"]
        found = cls(
            _text(plain["target"]),
            _text(plain["task"]),
            tuple(_feature(one) for one in plain["features"]),
            None if time is None else _feature(time),
            tuple(map(_text, plain["classes"])),
            plain["mark"],
        )
        if found.mark not in (None, ".", ",") or found.task not in targets.DATA_TASKS or not found.features:
            raise ValueError("no such layout")
        return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _feature(plain: Any) -> Feature:
    name, kind, order = map(_text, plain)
    if kind not in (NUMBER, TEXT, DATE) or order not in ("dmy", "mdy"):
        raise ValueError("no such feature")
    return Feature(name, kind, order)


def of_table(table: Table, settings: StreamSettings) -> Layout:
    """Find the columns of the first file.

    Whether a column is a number or a text, and whether the target is a class or a number, follow from all its cells.

    Raises:
        SzilardError: no such column, no feature left, or a target that cannot be predicted row by row.
    """
    request = Request(
        str(table.path), Path(), target=settings.target, ignore=tuple(settings.ignore), date=tuple(settings.date),
        time=settings.time, categorical=tuple(settings.categorical),
    )  # fmt: skip
    roles = roles_of(table, request)
    if len(roles.targets) > 1:
        raise SzilardError("a stream has one target, and several are named; name one column")
    column_warnings.warn_of_ids(table, roles.features, {*roles.dates, *roles.categorical})
    features = tuple(
        Feature(table.names[column], *_kind(table, column, roles.dates, roles.categorical))
        for column in roles.features
    )
    time = None
    if roles.time is not None:
        order = roles.dates.get(roles.time)
        is_date = order is not None or table.is_text(roles.time)
        if is_date and order is None:
            order = order_of(table, roles.time, None)
        time = Feature(table.names[roles.time], DATE if is_date else NUMBER, order or "dmy")
    task, classes = _target(table, roles.targets[0], settings.task)
    return Layout(table.names[roles.targets[0]], task, features, time, classes, table.mark)


def _kind(table: Table, column: int, dates: dict[int, str], categorical: frozenset[int]) -> tuple[str, str]:
    if table.missing(column).all():
        raise SzilardError(
            f"column {table.called(column)} of {table.path} is empty in every row; leave it out with --ignore (in "
            "Python: ignore=[...])"
        )
    if column in dates:
        return DATE, dates[column]
    if column not in categorical and not table.is_text(column):
        return NUMBER, "dmy"
    check_texts(table, column, set())
    return TEXT, "dmy"


def check_texts(table: Table, column: int, known: set[str]) -> None:
    """Raise if a column, with the texts that are known, has too many different ones."""
    found = {
        cell for cell, gone in zip(table.columns[column], table.missing(column), strict=True) if not gone
    }
    if len(found | known) > MOST_VALUES:
        raise SzilardError(
            f"column {table.called(column)} of {table.path} is text with {len(found | known):,} different values (at "
            f"most {MOST_VALUES} are turned into 0/1 columns); "
            f"{column_warnings.advice(table, column, sorted(found), 0)}"
        )


def _target(table: Table, column: int, task: str | None) -> tuple[str, tuple[str, ...]]:
    present = (~table.missing(column)).nonzero()[0]
    if not len(present):
        raise SzilardError(
            f"the target {table.called(column)} of {table.path} is empty in every row; name another column with "
            "--target (in Python: target=)"
        )
    known = table.take(present)
    asked = None if task is None else targets.of_data(task)
    if asked is not None and not (asked.has_classes or asked.in_units):
        raise SzilardError(
            f"a stream predicts one class or one number, not {asked.name}; choose --task classification or "
            "regression (in Python: task=)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", column_warnings.ColumnWarning)
        found, y, classes = target_guess.of_one(known, column, asked)
    different = len(classes) if classes else len(np.unique(y.numpy()))
    if different < 2:
        cell = shortened(table.columns[column][int(present[0])], LETTERS)
        raise SzilardError(
            f"the target {table.called(column)} of {table.path} is {cell!r} in every row, and there is nothing to "
            "predict; name another column with --target (in Python: target=)"
        )
    return found.name, classes[:MOST_LISTED]


def check_later(table: Table, layout: Layout, of: object) -> None:
    """Raise if a later file lacks a column of the first one; warn of columns that it has in addition.

    Args:
        of: the folder of the stream, for the message.
    """
    wanted = [
        layout.target,
        *(one.name for one in layout.features),
        *([layout.time.name] if layout.time else []),
    ]
    missing = next((name for name in wanted if name not in table.names), None)
    if missing is not None:
        raise SzilardError(
            f"{table.path} has no column {shortened(missing, LETTERS)!r}, which the stream in {of} began with; add "
            "the column, or start a new stream in another folder"
        )


def strangers(table: Table, layout: Layout, settings: StreamSettings) -> None:
    """Warn of columns that the first file did not have."""
    known = {layout.target, *(one.name for one in layout.features), *settings.ignore}
    known |= {layout.time.name} if layout.time else set()
    more = [name for name in table.names if name not in known]
    if more:
        _warn_of(table, more)


def _warn_of(table: Table, names: Sequence[str]) -> None:
    several = len(names) > 1
    warnings.warn(
        f"{table.path} has {'columns' if several else 'a column'} that the stream began without, such as "
        f"{shortened(names[0], LETTERS)!r}; {'they are' if several else 'it is'} not used",
        SzilardWarning,
        stacklevel=3,
    )
