"""The recorded streams, row by row in their order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILES = {"elec2": "elec.csv", "weather": "weather_bellevue_noaa.csv"}
MONTH = {"elec2": 48 * 30, "weather": 30}  #: Rows of 30 days.
DAY = 48  # rows of Elec2
SKIPPED = 4000  # usable rows before the first one that is tested, as published
EXTREME = 4.0  # log-odds of the fractions 0 and 1


@dataclass(frozen=True)
class Labels:
    """A stream of rows with two classes.

    Attributes:
        x: features as they are in the file, ``[N, D]``.
        y: 0 or 1, ``[N]``.
        both: first row before which both classes have occurred; before it no method is asked.
    """

    x: np.ndarray
    y: np.ndarray
    both: int


@dataclass(frozen=True)
class LogOdds:
    """Elec2 as a regression: features and target of one row.

    Attributes:
        x: ``[N, 15]``.
        y: log-odds of ``fraction``, ``[N]``.
        fraction: share of the last day's prices that are below the present one, ``[N]``.
        before: the fraction of the row before, ``[N]``.
    """

    x: np.ndarray
    y: np.ndarray
    fraction: np.ndarray
    before: np.ndarray


def read(root: Path, name: str) -> np.ndarray:
    """A file's numbers, ``[N, columns]``; the last column is the class."""
    return np.loadtxt(root / "streams" / FILES[name], delimiter=",", skiprows=1)


def labels(root: Path, name: str) -> Labels:
    """A stream with its own columns as features."""
    values = read(root, name)
    y = values[:, -1].astype(int)
    return Labels(values[:, :-1], y, int(np.argmax(y != y[0])) + 1)


def log_odds(root: Path) -> LogOdds:
    """Elec2's published regression (Li et al. 2021), whose features and target are of one row.

    Features: weekday (one of seven), period, date between 0 and 1, the five columns of the market, and 1. Weekday and
    date are by row number, because the file has none. Target: log-odds of the share of the 48 prices before that are
    below the present one, -4 for 0 and 4 for 1. The first 4000 usable rows are left out.
    """
    values = read(root, "elec2")
    count = len(values)
    day = np.arange(count) // DAY
    columns = np.column_stack(
        (np.eye(7)[day % 7], values[:, 0], day / day.max(), values[:, 1:6], np.ones(count))
    )
    price = values[:, 1]
    fraction = np.array([np.mean(price[row - DAY : row] < price[row]) for row in range(DAY, count)])
    with np.errstate(divide="ignore"):
        odds = np.log(fraction) - np.log1p(-fraction)
    target = np.where(fraction == 0, -EXTREME, np.where(fraction == 1, EXTREME, odds))
    used = slice(SKIPPED, None)
    before = np.append(0.5, fraction[:-1])
    return LogOdds(columns[DAY:][used], target[used], fraction[used], before[used])
