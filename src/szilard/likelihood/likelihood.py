"""The face that all likelihoods show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
            output: of the network, as for the loss.
            softness: τ, that divides logits; likelihoods without logits do not use it.
            generator: of the random direction.
        """

    @abstractmethod
    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        """KL of an answer from the wanted one in nats, mean over examples, scalar with a gradient."""

    def check(self, output: Tensor, y: Tensor) -> None:
        """Refuse targets that do not go with the output.

        Their values are looked at where there are any: not while a network is compiled or mapped by ``torch.func``.

        Raises:
            SzilardError: their type, shape or values are wrong.
        """
        self.check_shape(output, y)
        if values_known(y):
            self.check_values(output, y)

    @abstractmethod
    def check_shape(self, output: Tensor, y: Tensor) -> None:
        """Refuse targets of the wrong shape or type, which costs nothing on any device."""

    @abstractmethod
    def check_values(self, output: Tensor, y: Tensor) -> None:
        """Refuse targets of the right shape whose values are wrong; a GPU must be waited for."""

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """:meth:`nll` of a position, where an example has several: nats, ``[B]``."""
        return self.nll(output, y)

    def labelled(self, output: Tensor, y: Tensor) -> Tensor | None:
        """Which examples have a label at all, bool ``[B]``; None: all of them."""
        return None

    def judged(self, output: Tensor) -> Tensor:
        """What is judged of an output: all of it, unless there are several."""
        return output

    def guessing(self, y: Tensor) -> float:
        """Score of the best constant answer."""
        return 0.0

    def answers(self, output: Tensor) -> Tensor | None:
        """What an output says, as labels are given; None where it is no choice among labels."""
        return None

    def sureness(self, output: Tensor, y: Tensor) -> Tensor | None:
        """A finer figure of each example than :meth:`values`, in the same units, float64 ``[B]``, or None."""
        return None


def values_known(tensor: Tensor) -> bool:
    """Whether a tensor has values that Python may read."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch._C._len_torch_dispatch_stack()
        and tensor.device.type != "meta"
    )


def same_shape(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether shapes of targets and outputs agree, up to dimensions of one behind the first: ``[B, 1]`` and ``[B]``."""
    return (
        bool(len(a) and len(b))
        and a[0] == b[0]
        and [n for n in a[1:] if n != 1] == [n for n in b[1:] if n != 1]
    )


def precise(values: Tensor) -> Tensor:
    """At least float32: bfloat16 and float16 cannot hold a target such as 1001 or a square of 300."""
    return values if values.dtype is torch.float64 else values.float()


def by_example(values: Tensor) -> Tensor:
    """Mean over all but the first dimension, float64 ``[B]``."""
    return values.double().reshape(len(values), -1).mean(1)
