"""Cells of a table as numbers, in the usual notations: 1234.5, 1,234.50, 1.234,50, 1 234,5, -3e-4."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})  #: in lower case

# ASCII digits as in a program. Python's float() also accepts "1_0" and digits of other scripts; other programs do not.
_PLAIN = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE
)
_COMMA = re.compile(
    r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+)?,[0-9]+(?:e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE
)
_POINTS = re.compile(
    r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+", re.ASCII
)  # thousands separators, or a number with three decimals
_COMMAS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?P<rest>\.[0-9]*)?", re.ASCII)
_SPACED = re.compile(
    r"[+-]?[0-9]{1,3}(?:(?P<gap>[ \u00a0\u202f'\u2019])[0-9]{3})(?:(?P=gap)[0-9]{3})*(?:[.,][0-9]+)?"
)
_SHORT = re.compile(r"[+-]?[0-9]{1,3}", re.ASCII)
_GAPS = str.maketrans("", "", " \u00a0\u202f'\u2019")


@dataclass(frozen=True)
class Numbers:
    """A column as numbers.

    Attributes:
        values: ``[N]`` float64, NaN where a cell is missing.
        missing: ``[N]`` bool.
        wrong: the first row whose cell is not a finite number, or None.
    """

    values: np.ndarray
    missing: np.ndarray
    wrong: int | None


def is_missing(cell: str) -> bool:
    """Whether a cell stands for a missing value."""
    return len(cell) <= 4 and cell.lower() in MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a number in one of the notations."""
    if is_missing(cell):
        return False
    cell = _joined(cell)
    return any(form.fullmatch(cell) for form in (_PLAIN, _COMMA, _COMMAS, _POINTS))


def plain(cells: Sequence[str]) -> np.ndarray | None:
    """All cells as finite numbers in program notation (1234.5), or None if any cell is something else."""
    text = "".join(cells)
    if not text.isascii() or "_" in text:
        return None
    try:
        values = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def marks(cells: Iterable[str]) -> set[str]:
    """Decimal marks that the cells must use: a set of "." and ",", which can be empty.

    "1,234" and "1.234" are ambiguous and add nothing, because the mark can be a thousands separator.
    """
    found: set[str] = set()
    for cell in set(cells):
        text = _joined(cell)
        grouped = _COMMAS.fullmatch(text)
        if grouped is not None:
            if grouped["rest"] is not None or text.count(",") > 1:
                found.add(".")
        elif _COMMA.fullmatch(text) or (text.count(".") > 1 and _POINTS.fullmatch(text)):
            found.add(",")
        elif "." in text and not _POINTS.fullmatch(text) and _PLAIN.fullmatch(text):
            found.add(".")
    return found


def undecided(cells: Iterable[str]) -> str | None:
    """The first ambiguous cell such as "1,234" (1234 or 1.234), or None."""
    return next((cell for cell in cells if "," in cell and _COMMAS.fullmatch(_joined(cell))), None)


def numbers(cells: Sequence[str], mark: str = ".") -> Numbers:
    """Parse a column with a given decimal mark.

    Args:
        mark: "." or ","; the other one is accepted as a thousands separator.
    """
    values = np.full(len(cells), np.nan)
    missing = np.zeros(len(cells), dtype=bool)
    wrong = None
    known: dict[str, float | None] = {}
    for row, cell in enumerate(cells):
        if is_missing(cell):
            missing[row] = True
            continue
        if cell not in known:
            known[cell] = _value(cell, mark)
        value = known[cell]
        if value is None or not math.isfinite(value):
            wrong = row if wrong is None else wrong
        else:
            values[row] = value
    return Numbers(values, missing, wrong)


def _value(cell: str, mark: str) -> float | None:
    cell = _joined(cell)
    if mark == ",":
        if _COMMA.fullmatch(cell) or _POINTS.fullmatch(cell):
            return float(cell.replace(".", "").replace(",", "."))
    elif _COMMAS.fullmatch(cell):
        return float(cell.replace(",", ""))
    return float(cell) if _PLAIN.fullmatch(cell) else None


def _joined(cell: str) -> str:
    """The cell without spaces or apostrophes as thousands separators, and with an ASCII minus sign."""
    cell = cell.replace("\u2212", "-")
    return cell.translate(_GAPS) if _SPACED.fullmatch(cell) else cell


def thousands(cells: Sequence[str]) -> bool:
    """Whether every point in plain numbers can be a thousands separator, as in "1.234", and there is at least one."""
    pointed = [cell for cell in cells if "." in cell]
    return bool(pointed) and all(_POINTS.fullmatch(cell) for cell in pointed)


def below_thousand(cell: str) -> bool:
    """Whether a cell is missing, or a whole number that needs no thousands separator."""
    return is_missing(cell) or _SHORT.fullmatch(cell) is not None
