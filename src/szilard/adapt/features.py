"""Features by name, which can appear and disappear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from szilard.errors import SzilardError, shortened

LARGEST = 1e100  #: whose square is a finite number
MOST_VALUES = 100  #: different texts of one feature


class Features:
    """Numbers, booleans and texts by name as a vector. A text becomes a 0/1 column for each of its values.

    Attributes:
        columns: number of each column by ``(name, None)``, or by ``(name, text)`` for texts.
        kinds: whether a feature is a ``"number"`` or a ``"text"``, by its first value.
    """

    def __init__(self) -> None:
        self.columns: dict[tuple[str, str | None], int] = {}
        self.kinds: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.columns)

    def learn(self, x: Mapping[Any, Any]) -> list[bool]:
        """Add the columns of a row that are new; for each, whether it is a number. A row that is refused adds none."""
        kinds: dict[str, str] = {}
        added: dict[tuple[str, str | None], bool] = {}
        for given, value in x.items():
            name = str(given)
            if _missing(value):
                continue
            is_text = isinstance(value, str)
            kind = "text" if is_text else "number"
            if not is_text:
                _number(name, value)
            if self.kinds.get(name, kind) != kind:
                raise SzilardError(
                    f"feature {name!r} was a {self.kinds[name]} and is now {_shown(value)}; give one kind"
                )
            kinds[name] = kind
            column = (name, value if is_text else None)
            if column not in self.columns:
                if is_text and sum(1 for other, _ in self.columns if other == name) >= MOST_VALUES:
                    raise SzilardError(
                        f"feature {name!r} has more than {MOST_VALUES} different texts; leave it out or join rare ones"
                    )
                added[column] = not is_text
        self.kinds.update(kinds)
        for column in added:
            self.columns[column] = len(self.columns)
        return list(added.values())

    def vector(self, x: Mapping[Any, Any]) -> np.ndarray:
        """The columns of a row ``[D]``, NaN where a number is missing; what was never learned is left out."""
        values = np.full(len(self.columns), np.nan)
        for name, text in self.columns:
            if text is not None:
                values[self.columns[name, text]] = 0.0
        for given, value in x.items():
            if _missing(value):
                continue
            name = str(given)
            is_text = isinstance(value, str)
            place = self.columns.get((name, value if is_text else None))
            if place is not None:
                values[place] = 1.0 if is_text else _number(name, value)
        return values

    def names(self) -> list[str]:
        """A name for each column: ``name`` or ``name=text``."""
        return [name if text is None else f"{name}={text}" for name, text in self.columns]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SzilardError(f"feature {name!r} is {_shown(value)}, not a number or a text") from None
    if not math.isfinite(number):
        raise SzilardError(f"feature {name!r} is {_shown(value)}, not a finite number")
    if abs(number) > LARGEST:
        raise SzilardError(
            f"feature {name!r} is {_shown(value)}; numbers of a stream are at most {LARGEST:g}"
        )
    return number


def _shown(value: Any) -> str:
    return shortened(repr(value), 60)
