"""How the columns of a table become network inputs; saved with the network, so that new rows are read the same way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from szilard.data import dates
from szilard.data.table import Table, listed
from szilard.errors import SzilardError, shortened

Missing = Literal["refuse", "drop", "mean"]
Kind = Literal["number", "category", "date"]
MISSING: tuple[str, ...] = get_args(Missing)
_WHOLE = re.compile(r"-?\d+\.0+", re.ASCII)
_MOST_TEXT = 4096  # characters of a name in a file
_MOST_COLUMNS = 1 << 20


@dataclass(frozen=True)
class Column:
    """A column of a file, and the features made of it.

    Attributes:
        values: for a category its values in training, one 0/1 feature each; for a date its parts
            (:data:`szilard.data.dates.PARTS`); for a number none.
        order: of day and month in a date, "dmy" or "mdy".
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    order: str = "dmy"

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        sign = "=" if self.kind == "category" else ":"
        return tuple(f"{self.name}{sign}{value}" for value in self.values) or (self.name,)


@dataclass(frozen=True)
class Reading:
    """All feature columns, in the order of the features, and how missing cells are handled.

    Attributes:
        missing: "refuse", "drop" or "mean".
        decimal: the decimal mark of the training file, or None if its cells have none. It is the default for new files.
    """

    columns: tuple[Column, ...]
    missing: Missing = "refuse"
    decimal: str | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(name for column in self.columns for name in column.features)

    @property
    def groups(self) -> tuple[int, ...]:
        """For each feature, the index of its column in ``columns``."""
        return tuple(i for i, column in enumerate(self.columns) for _ in column.features)

    def categories(self) -> list[tuple[str, slice]]:
        """Name and features of each categorical column."""
        found, start = [], 0
        for column in self.columns:
            end = start + len(column.features)
            if column.kind == "category":
                found.append((column.name, slice(start, end)))
            start = end
        return found

    def without(self, kept: list[bool]) -> Reading:
        """Only the features for which ``kept`` is True; columns without any such feature are left out."""
        columns, start = [], 0
        for column in self.columns:
            keeps = kept[start : start + len(column.features)]
            start += len(column.features)
            if any(keeps):
                values = tuple(value for value, keep in zip(column.values, keeps, strict=False) if keep)
                columns.append(Column(column.name, column.kind, values, column.order))
        return Reading(tuple(columns), self.missing, self.decimal)

    def encode(self, table: Table) -> np.ndarray:
        """Features ``[N, D]`` of a table's rows, float64; NaN where a cell is missing.

        A category value that training has not seen is 0 in all features of that category.

        Raises:
            SzilardError: a column is missing, or a cell is not of its type.
        """
        x = np.empty((len(table.lines), len(self.groups)))
        start = 0
        numbers = {name: i for i, name in enumerate(table.names)}
        for column in self.columns:
            index = numbers.get(column.name)
            if index is None:
                raise SzilardError(
                    f"{table.path} has no column {shortened(column.name, 60)!r}, which the network was trained on; "
                    f"it has {listed(table.names)}"
                )
            end = start + len(column.features)
            if column.kind == "number":
                x[:, start] = table.numbers(index, gaps=True)
            elif column.kind == "date":
                parts = dates.parts(table.days(index, column.order))
                x[:, start:end] = np.stack([parts[name] for name in column.values], 1)
            else:
                _one_hot(table, index, column.values, x[:, start:end])
            start = end
        return x

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        columns = [
            {"name": c.name, "kind": c.kind, "values": list(c.values), "order": c.order} for c in self.columns
        ]
        return {"columns": columns, "missing": self.missing, "decimal": self.decimal}

    @classmethod
    def from_dict(cls, content: Any) -> Reading:
        """Check and read the values of a file.

        Raises:
            ValueError: they are not what :meth:`to_dict` returns.
        """
        if not isinstance(content, dict) or not isinstance(content.get("columns"), list):
            raise ValueError("must be a table of columns")
        if len(content["columns"]) > _MOST_COLUMNS:
            raise ValueError("has too many columns")
        if content.get("missing") not in MISSING or content.get("decimal") not in (None, ".", ","):
            raise ValueError("has an invalid entry for missing cells or for the decimal mark")
        return cls(tuple(map(_column, content["columns"])), content["missing"], content.get("decimal"))


def _column(content: Any) -> Column:
    kind: Any
    if not isinstance(content, dict):
        raise ValueError("has a column that is not a table")
    name, kind, values, order = (
        content.get("name"),
        content.get("kind"),
        content.get("values"),
        content.get("order"),
    )
    if not _is_text(name) or kind not in get_args(Kind) or order not in dates.ORDERS:
        raise ValueError("has a column without a valid name, kind or order")
    if not isinstance(values, list) or not all(map(_is_text, values)) or len(set(values)) < len(values):
        raise ValueError(f"has invalid values for column {shortened(str(name), 60)}")
    if bool(values) == (kind == "number") or (kind == "date" and not set(values) <= set(dates.PARTS)):
        raise ValueError(f"has values that a {kind} cannot have for column {shortened(str(name), 60)}")
    return Column(str(name), kind, tuple(values), str(order))


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > _MOST_TEXT or "\0" in value:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def code(cell: str) -> str:
    """A cell as a category: ``3.0`` becomes ``3``, because programs write integer columns with gaps as floats."""
    return cell.partition(".")[0] if _WHOLE.fullmatch(cell) else cell


def _one_hot(table: Table, index: int, values: tuple[str, ...], out: np.ndarray) -> None:
    place = {code(value): i for i, value in enumerate(values)} | {value: i for i, value in enumerate(values)}
    cells = table.columns[index]
    where = np.fromiter((place.get(cell, place.get(code(cell), -1)) for cell in cells), np.int64, len(cells))
    out[:] = 0
    seen = (where >= 0).nonzero()[0]
    out[seen, where[seen]] = 1
    out[table.missing(index)] = np.nan
