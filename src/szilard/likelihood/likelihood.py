"""The interface of all likelihoods."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from szilard.errors import SzilardError

_SURENESS = "Likelihood.sureness is now Likelihood.label_probability"


class Likelihood(ABC):
    """p(y | output) of one task, with its score, divergence and checks of targets.

    Training needs :meth:`nll`, predictions need :meth:`moments`, compression needs :meth:`agreement`,
    :meth:`direction` and :meth:`divergence`.

    Attributes:
        name: name of the task, as ``task=`` takes it: what the targets are.
        score: name of the score.
        relative: whether a drop of the score is relative to the original's score.
        trainable: whether methods can train with it.
        unlabelled: name of the score without labels (:meth:`agreement`).
    """

    name: ClassVar[str] = "regression"
    score: ClassVar[str] = "mean log likelihood"
    relative: ClassVar[bool] = False
    trainable: ClassVar[bool] = True
    unlabelled: ClassVar[str] = "agreement with the original's outputs"

    @abstractmethod
    def nll(self, output: Tensor, y: Tensor) -> Tensor:
        """-ln p(y | output) of each example in nats, ``[B]``."""

    def values(self, output: Tensor, y: Tensor) -> Tensor:
        """The contribution of each example to the score, float64 ``[B]``; the score is their mean, higher is better."""
        return -self.loss(output, y).double()

    def moments(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of p(y | output), ``[B]`` or ``[B, k]``: the predictions for quantities.

        Raises:
            SzilardError: the likelihood does not define them.
        """
        raise self._undefined("moments", "the mean and variance of its targets, which predictions need")

    def agreement(self, output: Tensor, original: Tensor) -> Tensor:
        """The score without labels: agreement with the original network's output, float64 ``[B]``."""
        raise self._undefined("agreement", "the score without labels, which compression needs")

    def direction(self, output: Tensor, softness: float, generator: torch.Generator) -> Tensor:
        """A random gradient of the output's shape whose covariance is the curvature of the loss at the output.

        Args:
            output: the network's output, as for the loss.
            softness: τ, which divides logits; likelihoods without logits do not use it.
            generator: generator of the random direction.
        """
        raise self._undefined("direction", "a random gradient, which compression needs")

    def divergence(self, wanted: Tensor, answer: Tensor) -> Tensor:
        """KL divergence of an output from the target output in nats, mean over examples, scalar with a gradient."""
        raise self._undefined("divergence", "the divergence of two outputs, which compression needs")

    def _undefined(self, method: str, what: str) -> SzilardError:
        return SzilardError(f"{type(self).__name__} does not define {method}: {what}; add this method")

    def check(self, output: Tensor, y: Tensor) -> None:
        """Raise for targets that do not fit the output.

        Their values are checked if they exist: not while a network is compiled or mapped by ``torch.func``.

        Raises:
            SzilardError: their type, shape or values are wrong.
        """
        self.check_shape(output, y)
        if values_known(y):
            self.check_values(output, y)

    def check_shape(self, output: Tensor, y: Tensor) -> None:
        """Raise for targets of the wrong shape or type; free on any device."""
        if y.dim() == 0 or output.dim() == 0 or len(y) != len(output):
            raise SzilardError(
                f"targets have shape {list(y.shape)} and outputs {list(output.shape)}; give targets for each example"
            )

    def check_values(self, output: Tensor, y: Tensor) -> None:
        """Raise for targets of the right shape with wrong values; this synchronises a GPU."""
        if not bool(torch.isfinite(y).all()):
            raise SzilardError("targets have NaN or infinite values; remove those examples")

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """:meth:`nll` per position if an example has several: nats, ``[B]``."""
        return self.nll(output, y)

    def labelled(self, output: Tensor, y: Tensor) -> Tensor | None:
        """Which examples have at least one label, bool ``[B]``; None: all of them."""
        return None

    def judged(self, output: Tensor) -> Tensor:
        """The part of an output that the score uses: all of it, or the first of several outputs."""
        return output

    def guessing(self, y: Tensor) -> float:
        """Score of the best constant prediction."""
        return 0.0

    def answers(self, output: Tensor) -> Tensor | None:
        """The predicted labels, in the form of labels; None if the task has none."""
        return None

    def label_probability(self, output: Tensor, y: Tensor) -> Tensor | None:
        """Probability of each example's labels, float64 ``[B]``: a smoother score than :meth:`values`, in the same
        units. None if the task has no labels."""
        return None

    def sureness(self, output: Tensor, y: Tensor) -> Tensor | None:
        """The former name of :meth:`label_probability`; it goes with the next release."""
        warnings.warn(_SURENESS, DeprecationWarning, stacklevel=2)
        return self.label_probability(output, y)

    def __init_subclass__(cls, **options: Any) -> None:
        """A subclass that overrides the former name of a method still counts."""
        super().__init_subclass__(**options)
        if "sureness" in vars(cls) and "label_probability" not in vars(cls):
            warnings.warn(_SURENESS, DeprecationWarning, stacklevel=2)
            cls.label_probability = cls.sureness  # type: ignore[method-assign]


def values_known(tensor: Tensor) -> bool:
    """Whether a tensor has values that Python can read."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch._C._len_torch_dispatch_stack()
        and tensor.device.type != "meta"
    )


def same_shape(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether shapes of targets and outputs agree, apart from later dimensions of one: ``[B, 1]`` and ``[B]``."""
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
