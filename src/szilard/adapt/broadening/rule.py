"""How a belief is broadened before the next row, because the world may have changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from szilard.adapt.beliefs import Belief
from szilard.errors import SzilardError


class Broadening(ABC):
    """A conditional prior: from the belief after the last row to the one before the next row.

    A rate is between 0 and 1. Rate 1 leaves every belief as it is, and smaller rates broaden it more.

    Attributes:
        rate: the rate where a tracker has none of its own.
        needs_input: whether the broadened belief depends on the next input.
        learns: whether what it remembers changes with each row, see :meth:`learned`.
    """

    name: ClassVar[str]
    needs_input: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    def __init__(self, rate: float = 0.98) -> None:
        self.rate = checked_rate(rate)

    @abstractmethod
    def __call__(self, belief: Belief, rates: np.ndarray, x: np.ndarray | None = None) -> Belief:
        """Broadened hypotheses.

        Args:
            belief: K hypotheses.
            rates: ``[K]``.
            x: the next input ``[D]``, for rules with :attr:`needs_input`.
        """

    def learned(
        self, belief: Belief, rates: np.ndarray, evidence: Callable[[Belief], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """What the rule remembers for each hypothesis after a row; called if it :attr:`learns`.

        Args:
            belief: before it was broadened.
            rates: ``[K]``; hypotheses with rate 1 were not broadened.
            evidence: the log evidence ``[K]`` of the row, from a broadened belief.
        """
        return {}

    def start(self) -> dict[str, np.ndarray]:
        """Arrays ``[1, ...]`` that the rule keeps for each hypothesis."""
        return {}

    def setting(self) -> str:
        """What determines the rule, for files and messages."""
        values = ", ".join(f"{name}={value:g}" for name, value in sorted(vars(self).items()))
        return f"{self.name}({values})"


def checked_rate(rate: float, name: str = "rate") -> float:
    """The rate as a float; raises unless it is between 0 and 1."""
    if not 0 <= rate <= 1:
        raise SzilardError(
            f"{name} must be between 0 (forget everything) and 1 (forget nothing), not {rate:g}"
        )
    return float(rate)


def positive(value: float, name: str) -> float:
    """The value as a float; raises unless it is finite and positive."""
    if not (value > 0 and np.isfinite(value)):
        raise SzilardError(f"{name} must be positive and finite, not {value:g}")
    return float(value)


def with_fewer_observations(belief: Belief, rates: np.ndarray) -> dict[str, np.ndarray]:
    """``extra`` of a belief with less evidence on the noise: its estimate stays and its degrees of freedom shrink."""
    noise = belief.extra.get("noise")
    if noise is None:
        return belief.extra
    shape = rates * noise[:, 0] + (1 - rates) * belief.start["noise"][:, 0]
    return {**belief.extra, "noise": np.stack((shape, noise[:, 1] * shape / noise[:, 0]), 1)}


def with_noise_towards_prior(belief: Belief, rates: np.ndarray) -> dict[str, np.ndarray]:
    """``extra`` of a belief whose evidence on the noise is mixed with the prior's."""
    noise = belief.extra.get("noise")
    if noise is None:
        return belief.extra
    mixed = rates[:, None] * noise + (1 - rates[:, None]) * belief.start["noise"]
    return {**belief.extra, "noise": mixed}
