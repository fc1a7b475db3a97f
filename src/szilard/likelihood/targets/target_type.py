"""What differs between tasks: the face of what a data set's targets are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from torch import Tensor

from szilard.likelihood.likelihood import Likelihood

TaskName = Literal["classification", "multilabel", "regression"]


class TargetType(ABC):
    """What the targets of a task are, of outputs that a network gives already.

    Attributes:
        name: of the task, as users write it.
        score: what predictions are judged by.
        has_labels: whether labels judge the outputs; else only the original network's outputs do.
        in_units: targets are quantities, which have a unit, a shift and a scale, and a noise.
        in_columns: targets are ``[N, k]``, even where k is 1.
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
            SzilardError: outputs that the task cannot have.
        """


class DataTargets(TargetType):
    """What the targets of a data set are: all that rooms ask where tasks differ.

    Attributes:
        has_classes: targets are numbers of classes that have names; one an example, or one at each position.
        ignored: the label that stands for none, or None where every target counts.
        constant: what the best constant prediction consists of, in a sentence.
        figures: what tables call a figure of :func:`szilard.metrics.evaluate`, where it is not called so there.
    """

    name: ClassVar[TaskName]
    has_classes: ClassVar[bool] = False
    ignored: ClassVar[int | None] = None
    constant: ClassVar[str]
    figures: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def trained(self) -> Likelihood:
        """The likelihood that a method trains under, for one target an example."""

    def meaning(self, n_outputs: int) -> TaskName | Likelihood:
        """What :meth:`szilard.methods.Method.prepare` needs to know for a data set of ``n_outputs``."""
        return self.name

    def n_outputs(self, classes: Sequence[str], targets: Sequence[str]) -> int:
        """Number of classes, of labels or of quantities, from their names."""
        return max(1, len(targets))

    def output_names(self, classes: Sequence[str], targets: Sequence[str]) -> Sequence[str]:
        """Which of the names of a data set those of the outputs are."""
        return targets

    @abstractmethod
    def output_shapes(
        self, n: int, n_outputs: int, positions: Sequence[int]
    ) -> tuple[list[tuple[int, ...]], str]:
        """Shapes that a network may answer to ``n`` inputs, and the same in words.

        Args:
            positions: shape of the targets of one example.
        """

    def standardised(self, y: Tensor, shift: float | Tensor, scale: float | Tensor) -> Tensor:
        """Targets as a network learns them; only quantities change."""
        return y

    @abstractmethod
    def checked(self, y: Tensor, n_outputs: int, ignore_index: int | None = None) -> Tensor:
        """Targets in host memory, of the right shape, in the type in which metrics compare them.

        Raises:
            SzilardError: values that the task cannot have.
        """

    @abstractmethod
    def constant_nll(self, known: Tensor, asked: Tensor, n_outputs: int) -> float:
        """Mean negative log likelihood of a target, in nats, of the best constant prediction.

        Args:
            known: targets that the prediction is made from, ``[N, ...]``.
            asked: those that are predicted.
        """


def ignoring(y: Tensor, ignored: int, ignore_index: int | None) -> str:
    """The advice for labels out of range where some of them are those that stand for none."""
    seen = ignore_index is None and bool((y == ignored).any())
    return f"; give ignore_index={ignored} if that stands for no label" if seen else ""
