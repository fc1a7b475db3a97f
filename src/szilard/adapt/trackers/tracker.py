"""Which hypotheses on past changes a filter keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from szilard.errors import SzilardError


@dataclass(frozen=True)
class Tracks:
    """Hypotheses after a row.

    Attributes:
        log_weight: log probability of each, ``[K]``; their sum is 1.
        last_change: row of the last change, counted from 0, ``[K]``; -1: none.
    """

    log_weight: np.ndarray
    last_change: np.ndarray

    @classmethod
    def equal(cls, count: int) -> Tracks:
        """``count`` hypotheses of equal probability, without a change."""
        return cls(np.full(count, -np.log(count)), np.full(count, -1))

    def still(self) -> Branches:
        """The same hypotheses before the next row, none of which assumes a change."""
        count = len(self.log_weight)
        return Branches(np.arange(count), np.ones(count), np.zeros(count, dtype=bool), self.log_weight)


@dataclass(frozen=True)
class Branches:
    """Hypotheses before the next row.

    Attributes:
        parents: the hypothesis that each continues, ``[M]``.
        rates: of the broadening, ``[M]``; 1: none.
        changed: whether it assumes a change before this row, ``[M]``.
        log_prior: log probability before the row is seen, ``[M]``; their sum is 1.
    """

    parents: np.ndarray
    rates: np.ndarray
    changed: np.ndarray
    log_prior: np.ndarray


class Tracker(ABC):
    """Branches hypotheses before each row and prunes them after it.

    Probabilities are joint ones: those of a hypothesis are its parent's times its evidence.

    Attributes:
        detects: whether hypotheses differ in when the world changed.
    """

    name: ClassVar[str]
    detects: ClassVar[bool] = False

    @abstractmethod
    def start(self) -> Tracks:
        """Hypotheses before the first row; all start at the prior."""

    @abstractmethod
    def branch(self, tracks: Tracks, rate: float) -> Branches:
        """Hypotheses before the next row.

        Args:
            tracks: after the last row.
            rate: of the broadening rule, for trackers without rates of their own.
        """

    def most(self) -> int | None:
        """How many hypotheses are kept after a row; None: all."""
        return None

    def prune(self, tracks: Tracks) -> np.ndarray:
        """Which hypotheses stay, as ascending numbers: the most probable ones."""
        most = self.most()
        if most is None or len(tracks.log_weight) <= most:
            return np.arange(len(tracks.log_weight))
        return np.sort(np.argsort(-tracks.log_weight, kind="stable")[:most])

    def setting(self) -> str:
        """What determines the tracker, for files and messages."""
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in sorted(vars(self).items()))})"


class Detecting(Tracker):
    """A tracker whose hypotheses differ in when the world changed.

    Args:
        size: hypotheses that stay after each row.
        change: p(change) before each row.
    """

    detects = True

    def __init__(self, size: int, change: float) -> None:
        self.size = count(size, "size")
        self.change = probability(change, "change")

    def start(self) -> Tracks:
        return Tracks.equal(1)

    def most(self) -> int:
        return self.size


def normalised(log_weight: np.ndarray) -> np.ndarray:
    """Log weights whose exponentials sum to 1."""
    shifted = log_weight - log_weight.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def probability(value: float, name: str) -> float:
    """The value as a float; raises unless it is strictly between 0 and 1."""
    if not 0 < value < 1:
        raise SzilardError(f"{name} must be between 0 and 1, exclusive, not {value:g}")
    return float(value)


def count(value: int, name: str) -> int:
    """The value; raises unless it is at least 1."""
    if value < 1:
        raise SzilardError(f"{name} must be at least 1, not {value}")
    return int(value)
