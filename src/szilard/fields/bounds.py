"""Bounds as users state them: numbers, ``relative:``, ``range:`` and ``map:``, by variable."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from szilard.codec import Bound
from szilard.errors import SzilardError, printable

OTHERS = "*"  #: key of the bound for every other float variable
_FORMS = "a number, 'relative:0.01', 'range:1e-3' or 'map:NAME'"
_MAP = re.compile(r"(?:(?P<factor>[^*]+)\*)?(?P<name>.+)")

Kind = Literal["absolute", "relative", "range", "map"]


@dataclass(frozen=True)
class Stated:
    """A bound that is not yet that of a variable.

    Attributes:
        kind: absolute; a share of each value's magnitude (relative), of the variable's range (range); a bound for each
            value (map).
        size: the bound, the share, or the factor on the map.
        name: variable of the same dataset that holds the map.
        array: the map itself; one of numpy has the variable's last dimensions, of its length or of length one.
    """

    kind: Kind
    size: float
    name: str | None = None
    array: xr.DataArray | np.ndarray | None = None

    @property
    def words(self) -> str:
        """As text that :func:`parse` reads; a map that is an array is ``map``."""
        if self.kind == "absolute":
            return f"{self.size:g}"
        if self.kind != "map":
            return f"{self.kind}:{self.size:g}"
        if self.name is None:
            return "map"
        return f"map:{self.name}" if self.size == 1 else f"map:{self.size:g}*{self.name}"


def parse(value: Any, variable: str) -> Stated:
    """One bound.

    Args:
        value: a number, a :class:`~szilard.codec.Bound`, a text or an array of bounds.
        variable: named in errors.

    Raises:
        SzilardError: it is none of these, or not positive and finite.
    """
    if isinstance(value, Stated):
        return value
    if isinstance(value, xr.DataArray) or (isinstance(value, np.ndarray) and value.ndim):
        return Stated("map", 1.0, array=value)
    if isinstance(value, Bound):
        return Stated("relative" if value.relative else "absolute", value.size)
    if isinstance(value, str):
        return _of_text(value.strip(), variable)
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return Stated("absolute", _positive(float(value), variable, "bound"))
    raise SzilardError(
        f"the bound of {printable(variable)} must be {_FORMS}, or an array of xarray or numpy, not "
        f"{type(value).__name__}"
    )


def by_variable(bound: Any) -> dict[str, Stated]:
    """Bounds by variable; a single one is that of every float variable."""
    if not isinstance(bound, Mapping):
        return {OTHERS: parse(bound, "every float variable")}
    if not bound:
        raise SzilardError("no bound was given; name one for a variable, or for all of them with '*'")
    return {str(name): parse(value, str(name)) for name, value in bound.items()}


def _of_text(text: str, variable: str) -> Stated:
    kind, colon, rest = text.partition(":")
    if not colon:
        return Stated("absolute", _positive(_number(text, text, variable), variable, "bound"))
    if kind == "absolute":
        return Stated("absolute", _positive(_number(rest, text, variable), variable, "bound"))
    if kind in ("relative", "range"):
        share = _positive(_number(rest, text, variable), variable, f"{kind} bound")
        if share >= 1:
            raise SzilardError(f"the {kind} bound of {printable(variable)} must be below 1, not {share:g}")
        return Stated("relative" if kind == "relative" else "range", share)
    if kind == "map":
        found = _MAP.fullmatch(rest.strip())
        if found is not None:
            factor = 1.0 if found["factor"] is None else _number(found["factor"], text, variable)
            return Stated("map", _positive(factor, variable, "factor on the map"), found["name"].strip())
    raise SzilardError(f"the bound of {printable(variable)} must be {_FORMS}, not {text!r}")


def _number(text: str, whole: str, variable: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SzilardError(f"the bound of {printable(variable)} must be {_FORMS}, not {whole!r}") from None


def _positive(value: float, variable: str, what: str) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise SzilardError(f"the {what} of {printable(variable)} must be positive and finite, not {value:g}")
    return value
