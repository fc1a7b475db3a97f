"""Dates as numbers: days since 1970, and sine and cosine of the position in the year, the week and the day."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import numpy as np

PARTS = ("days", "year_sin", "year_cos", "week_sin", "week_cos", "day_sin", "day_cos")
ORDERS = ("dmy", "mdy")  # of day and month in dates such as 03/04/2024
_YEAR = 365.2425  # days
_CENTURY = 69  # two-digit years from here on are in the 20th century, as in POSIX
_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_CLOCK = (
    r"(?:(?:[T ]+|, *)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<rest>\d{1,9}))?)?"
    r" ?(?P<half>[AaPp][Mm])? ?(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
)
_YEAR_FIRST = re.compile(r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + _CLOCK, re.ASCII)
_DIGITS = re.compile(r"(?P<year>[12]\d{3})(?P<month>\d\d)(?P<day>\d\d)" + _CLOCK, re.ASCII)
_YEAR_LAST = re.compile(
    r"(?P<first>\d{1,2})(?P<sign>[-/.])(?P<second_>\d{1,2})(?P=sign)(?P<year>\d{4}|\d\d)" + _CLOCK, re.ASCII
)
_NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})[. -]*)?(?P<name>[A-Za-z]{3})[a-z]*[. -]*(?:(?P<day_>\d{1,2}),?)?[ -]+(?P<year>\d{4})"
    + _CLOCK,
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)


def is_date(cell: str) -> bool:
    """Whether a cell is a date in one of the notations; digits alone count as a number."""
    return any(form.fullmatch(cell) for form in (_YEAR_FIRST, _YEAR_LAST)) or _days(cell, "dmy") is not None


def orders(cells: Sequence[str]) -> set[str]:
    """The :data:`ORDERS` in which all cells are valid dates; both if the cells are ambiguous.

    Dates with points (03.04.2024) have the day first.
    """
    possible = set(ORDERS)
    for cell in set(cells):
        found = _YEAR_LAST.fullmatch(cell)
        if found is not None:
            if found["sign"] == "." or int(found["first"]) > 12:
                possible.discard("mdy")
            if int(found["second_"]) > 12:
                possible.discard("dmy")
    return possible


def has_order(cells: Sequence[str]) -> bool:
    """Whether any cell is a date in which day and month could be swapped."""
    return any(_YEAR_LAST.fullmatch(cell) for cell in set(cells))


def days(cells: Sequence[str], order: str) -> np.ndarray:
    """``[N]`` fractional days since 1970-01-01; NaN for cells that are not dates. Times with a zone become UTC."""
    known = {cell: _days(cell, order) for cell in set(cells)}
    return np.array([math.nan if known[cell] is None else known[cell] for cell in cells], dtype=np.float64)


def parts(day: np.ndarray) -> dict[str, np.ndarray]:
    """Features of :data:`PARTS` for days ``[N]``: linear time, and periodic ones for the year, the week and the day."""
    found = {"days": day}
    for name, period in (("year", _YEAR), ("week", 7.0), ("day", 1.0)):
        angle = 2 * np.pi * ((day if period < 2 else np.floor(day)) / period % 1)
        found[f"{name}_sin"], found[f"{name}_cos"] = np.sin(angle), np.cos(angle)
    return found


def _days(cell: str, order: str) -> float | None:
    found = _YEAR_FIRST.fullmatch(cell) or _DIGITS.fullmatch(cell)
    if found is not None:
        year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    elif (found := _YEAR_LAST.fullmatch(cell)) is not None:
        year, day, month = int(found["year"]), int(found["first"]), int(found["second_"])
        if order == "mdy" and found["sign"] != ".":
            day, month = month, day
        if len(found["year"]) == 2:
            year += 1900 if year >= _CENTURY else 2000
    elif (found := _NAMED.fullmatch(cell)) is not None and (found["day"] is None) != (found["day_"] is None):
        year, month = int(found["year"]), _MONTHS.get(found["name"].lower(), 0)
        day = int(found["day"] or found["day_"])
    else:
        return None
    try:
        moment = datetime(year, month, day) + _clock(found)
    except (ValueError, OverflowError):  # such as 30 February or 25:00
        return None
    return (moment - _EPOCH) / timedelta(days=1)


def _clock(found: re.Match[str]) -> timedelta:
    if found["hour"] is None:
        return timedelta()
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    if found["half"] is not None:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of half a day")
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no time of day")
    zone = found["zone"]
    offset = timedelta()
    if zone is not None and zone != "Z":
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (-1 if zone[0] == "-" else 1)
        timezone(offset)  # raises for impossible offsets
    fraction = float(f"0.{found['rest']}") if found["rest"] else 0.0
    return timedelta(hours=hour, minutes=minute, seconds=second + fraction) - offset
