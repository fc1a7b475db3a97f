"""The face that all likelihoods show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Likelihood(ABC):
    """p(y | output) of one task, and what follows from it.

    Attributes:
        name: of the task, as ``task=`` takes it.
        score: name of the score.
        relative: whether a drop of the score is counted as a share of the original's.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    relative: ClassVar[bool]

    @abstractmethod
    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        """-ln p(y | output) of each example in nats, ``[B]``."""

    @abstractmethod
    def values(self, output: Tensor, y: Tensor) -> Tensor:
        """What each example adds to the score, float64 ``[B]``; the score is their mean, the higher the better."""

    @abstractmethod
    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """The same where there are no labels: agreement with the original network's output, float64 ``[B]``."""

    @abstractmethod
    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """A random gradient of the output's shape whose covariance is the curvature of the loss there.

        Args:
            softness: τ, that divides logits; likelihoods without logits do not use it.
        """

    @abstractmethod
    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        """KL of an answer from the wanted one in nats, mean over examples, scalar with a gradient."""

    @abstractmethod
    def check(self, output: Tensor, y: Tensor) -> None:
        """Refuse targets that do not go with the output.

        Raises:
            SzilardError: their type, shape or values are wrong.
        """

    def judged(self, output: Tensor) -> Tensor:
        """What is judged of an output: all of it, unless there are several."""
        return output

    def guessing(self, y: Tensor) -> float:
        """Score of the best constant answer."""
        return 0.0

    def sureness(self, output: Tensor, y: Tensor) -> Tensor | None:
        """A finer figure of each example than :meth:`values`, in the same units, float64 ``[B]``, or None."""
        return None


def by_example(values: Tensor) -> Tensor:
    """Mean over all but the first dimension, float64 ``[B]``."""
    return values.double().reshape(len(values), -1).mean(1)
