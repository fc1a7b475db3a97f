"""The interface of target types, which hold all differences between tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import Tensor

from szilard.likelihood.likelihood import Likelihood

TaskName = Literal["classification", "multilabel", "regression"]


class TargetType(ABC):
    """The targets of a task, for the outputs of an existing network.

    Attributes:
        name: name of the task, as users write it.
        score: name of the score of predictions.
        has_labels: outputs are compared with labels; else only with the original network's outputs.
        in_units: targets are quantities, which have a unit, a shift and a scale, and a noise.
        in_columns: targets are ``[N, k]``, even if k is 1.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    has_labels: ClassVar[bool] = True
    in_units: ClassVar[bool] = False
    in_columns: ClassVar[bool] = False

    @abstractmethod
    def likelihood_of(self, output: Tensor, labels: Tensor | None) -> Likelihood:
        """The likelihood of the outputs of a trained network.

        Args:
            output: ``[N, ...]``.
            labels: ``[N, ...]``, or None.

        Raises:
            SzilardError: outputs that do not fit the task.
        """


class DataTargets(TargetType):
    """The targets of a data set: everything that other packages need if tasks differ.

    Attributes:
        has_classes: targets are numbers of named classes, one for each example or for each position.
        ignored: the label of positions without a target, or None if there are none.
        constant: the best constant prediction, as part of a sentence.
        figures: names in tables of the figures of :func:`szilard.metrics.evaluate`, if they differ.
    """

    name: ClassVar[TaskName]
    has_classes: ClassVar[bool] = False
    ignored: ClassVar[int | None] = None
    constant: ClassVar[str]
    figures: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def trained(self) -> Likelihood:
        """The likelihood with which a method trains, for one target for each example."""

    def meaning(self, n_outputs: int) -> TaskName | Likelihood:
        """The ``task`` argument of :meth:`szilard.methods.Method.prepare` for a data set of ``n_outputs``."""
        return self.name

    def n_outputs(self, classes: Sequence[str], targets: Sequence[str]) -> int:
        """Number of classes, of labels or of quantities, from their names."""
        return max(1, len(targets))

    def output_names(self, classes: Sequence[str], targets: Sequence[str]) -> Sequence[str]:
        """The names of the outputs: those of the classes or of the targets."""
        return targets

    @abstractmethod
    def output_shapes(
        self, n: int, n_outputs: int, positions: Sequence[int]
    ) -> tuple[list[tuple[int, ...]], str]:
        """Shapes of the outputs that a network can return for ``n`` inputs, and their description.

        Args:
            positions: shape of the targets of one example.
        """

    def standardised(self, y: Tensor, shift: float | Tensor, scale: float | Tensor) -> Tensor:
        """Targets in the units of training; only quantities change."""
        return y

    @abstractmethod
    def checked(self, y: Tensor, n_outputs: int, ignore_index: int | None = None) -> Tensor:
        """Targets in host memory, of the right shape, in the type in which metrics compare them.

        Raises:
            SzilardError: values that do not fit the task.
        """

    @abstractmethod
    def constant_nll(self, known: Tensor, asked: Tensor, n_outputs: int) -> float:
        """Mean negative log likelihood of a target, in nats, of the best constant prediction.

        Args:
            known: targets from which the prediction is computed, ``[N, ...]``.
            asked: targets that are predicted.
        """


def ignoring(y: Tensor, ignored: int, ignore_index: int | None) -> str:
    """Advice for labels out of range if some of them are the usual value for "no label"."""
    seen = ignore_index is None and bool((y == ignored).any())
    return f"; give ignore_index={ignored} if that means no label" if seen else ""
