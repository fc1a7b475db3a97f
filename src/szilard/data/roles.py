"""The role of each column of a table: target, feature, date, group or time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from szilard.data import dates, targets
from szilard.data.raw import Request
from szilard.data.table import Table, listed
from szilard.errors import SzilardError, shortened


@dataclass(frozen=True)
class Roles:
    """Indices of columns by role.

    Attributes:
        targets: in the order given by the user.
        features: in the order of the file, including dates.
        dates: for each date column, the order of day and month.
        categorical: columns whose numbers are codes.
        group, time: columns that determine the split, or None.
    """

    targets: tuple[int, ...]
    features: tuple[int, ...]
    dates: dict[int, str]
    group: int | None
    time: int | None
    categorical: frozenset[int] = frozenset()

    @property
    def needed(self) -> tuple[int, ...]:
        """Columns whose missing cells cannot be filled."""
        return tuple(column for column in (*self.targets, self.group, self.time) if column is not None)

    def times(self, table: Table) -> np.ndarray:
        """``[N]`` numbers of the time column, which can hold dates."""
        assert self.time is not None
        if self.time in self.dates:
            return table.days(self.time, self.dates[self.time])
        if not table.is_text(self.time):
            return table.numbers(self.time)
        return table.days(self.time, order_of(table, self.time, None))


def roles_of(table: Table, request: Request) -> Roles:
    """Find the columns that a request names.

    Raises:
        SzilardError: no such column, a column with two roles, or no feature left.
    """
    if request.target is None:
        raise SzilardError(
            f"name the column of {table.path} to predict as target, or several separated by commas; it has "
            f"{listed(table.names)}"
        )
    chosen = targets.chosen(table, request.target)
    if len(table.names) <= len(chosen):
        what = f"column {table.names[0]!r}" if len(chosen) == 1 else f"{len(chosen)} columns to predict"
        raise SzilardError(
            f"{table.path} has only the {what}; add columns to predict {'it' if len(chosen) == 1 else 'them'} from"
        )
    if request.group is not None and request.time is not None:
        raise SzilardError("--group and --time both determine the split; choose one of them")
    ignored = {table.index(name) for name in request.ignore}
    group, time = (None if name is None else table.index(name) for name in (request.group, request.time))
    dated = dict(_date(table, text) for text in request.date)
    categorical = frozenset(table.index(name) for name in request.categorical)
    used: dict[str, Collection[int | None]] = {
        "group": {group},
        "time": {time},
        "date": set(dated),
        "categorical": categorical,
    }
    for option, columns in {"ignore": ignored, **used}.items():
        both = next((column for column in chosen if column in columns), None)
        if both is not None:
            which = "the target" if len(chosen) == 1 else "a target"
            raise SzilardError(
                f"column {table.called(both)} of {table.path} is {which} and cannot also be named with --{option}"
            )
    for option, columns in used.items():
        twice = next((column for column in columns if column is not None and column in ignored), None)
        if twice is not None:
            raise SzilardError(
                f"column {table.called(twice)} of {table.path} is named with --ignore and with --{option}; "
                "leave one out"
            )
    for option in ("group", "time", "date"):
        twice = next((column for column in used[option] if column in categorical), None)
        if twice is not None:
            raise SzilardError(
                f"column {table.called(twice)} of {table.path} is named with --{option} and with --categorical; leave "
                "one out"
            )
    left_out = ignored | {*chosen, *({group} - {None}), *({time} - set(dated) - {None})}
    features = tuple(column for column in range(len(table.names)) if column not in left_out)
    if not features:
        raise SzilardError(f"no column of {table.path} is left to predict {table.called(chosen[0])} from")
    return Roles(chosen, features, dated, group, time, categorical)


def order_of(table: Table, column: int, order: str | None) -> str:
    """The order of day and month in a date column: as given, or inferred from its cells.

    Raises:
        SzilardError: the cells contradict each other, or are ambiguous.
    """
    given = table.columns[column]
    if order is not None or not dates.has_order(given):
        return order or "dmy"
    possible = dates.orders(given)
    if len(possible) == 1:
        return possible.pop()
    name = table.called(column)
    if not possible:
        raise SzilardError(
            f"dates in column {name} of {table.path} sometimes have the day first and sometimes the month; "
            "write them as 2024-03-31"
        )
    shown = shortened(next(cell for cell in given if dates.has_order([cell])), 60)
    raise SzilardError(
        f"dates in column {name} of {table.path}, such as {shown!r}, do not show which is the day; add "
        f"--date {shortened(table.names[column], 60)}=dmy or =mdy (in Python: date=['...=dmy']), or write them as "
        "2024-03-31"
    )


def _date(table: Table, text: str) -> tuple[int, str]:
    name, equals, order = text.rpartition("=")
    if text not in table.names and name in table.names and order not in dates.ORDERS:
        raise SzilardError(
            f"--date {shortened(text, 60)} has an unknown order of day and month; write =dmy or =mdy "
            f"after the column, or {shortened(name, 60)} alone for dates such as 2024-03-31 (in Python: "
            "date=['...=dmy'])"
        )
    if text in table.names or not equals or order not in dates.ORDERS:
        column = table.index(text)
        return column, order_of(table, column, None)
    return table.index(name), order
