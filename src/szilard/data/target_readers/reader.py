"""Interface of the target readers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from szilard.data.raw import Raw, Request
from szilard.data.table import Table
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import DataTargets

Units = tuple[float | Tensor, float | Tensor]  # shift and scale


class TargetReader(ABC):
    """Reads, checks and standardises targets of one type.

    Attributes:
        target_type: type of the targets.
        balanced: whether a subset of the training examples is balanced over classes.
    """

    target_type: ClassVar[DataTargets]
    balanced: ClassVar[bool] = False

    # -- tables -------------------------------------------------------------------------------------

    @abstractmethod
    def of_column(self, table: Table, column: int) -> tuple[Tensor, tuple[str, ...]]:
        """Targets ``[N]`` of one column (``[N, 1]`` for one label), and names of the classes.

        Raises:
            SzilardError: a cell is not such a target.
        """

    @abstractmethod
    def of_columns(self, table: Table, columns: Sequence[int]) -> Tensor:
        """Targets ``[N, k]`` of several columns.

        Raises:
            SzilardError: text, a missing cell, or targets that must be in one column.
        """

    def of_known(self, table: Table, column: int, classes: Sequence[str], network: str) -> Tensor:
        """Targets ``[N]`` of one column for a trained network.

        Args:
            classes: of the network.
            network: its name, for messages.
        """
        return torch.from_numpy(table.numbers(column))

    def strata(self, y: Tensor) -> Tensor | None:
        """Stratum of each row, ``[N]``, for a stratified split; None if the split is not stratified."""
        return None

    def check_training_rows(
        self, table: Table, y: Tensor, train: Tensor, classes: Sequence[str], request: Request
    ) -> None:
        """Raise if the training rows ``train`` do not contain all classes."""
        return

    # -- arrays -------------------------------------------------------------------------------------

    @abstractmethod
    def of_arrays(
        self, arrays: Sequence[np.ndarray], names: Sequence[str], path: Path
    ) -> tuple[list[Tensor], tuple[str, ...]]:
        """Targets of each part, and names of the classes, from arrays ``[N]`` (or ``[N, H, W]``).

        Args:
            names: of the arrays, for messages.
        """

    @abstractmethod
    def of_matrices(self, matrices: Sequence[Tensor], path: Path) -> list[Tensor]:
        """Targets of each part, from finite matrices ``[N, k]``."""

    # -- any source ---------------------------------------------------------------------------------

    def check_part(self, y: Tensor, raw: Raw, what: str) -> None:
        """Raise if targets of a part are out of range."""
        return

    def check_training_part(self, raw: Raw, name: str) -> None:
        """Raise if the training part cannot be learnt from, such as a single class."""
        return

    @abstractmethod
    def units(self, raw: Raw, name: str) -> Units:
        """Shift and scale of the targets, from the training part.

        Raises:
            SzilardError: a target is constant, or its values cannot be standardised.
        """


def refuse_constant(raw: Raw, name: str) -> None:
    """Raise if a target is the same in every training row."""
    y = raw.train.y.double()
    same = (y == y[:1]).all(0)
    if bool(same.any()):
        which = int(same.byte().argmax()) if raw.targets else 0
        value = float(y[0, which] if raw.targets else y[0])
        left = ", or leave it out of --target (in Python: target=)" if len(raw.targets) > 1 else ""
        raise SzilardError(
            f"{called(raw, which)} of {name} is {value:g} in every training row; there is nothing to predict{left}"
        )


def called(raw: Raw, which: int) -> str:
    """Name of a target, for messages."""
    return f"target {shortened(raw.targets[which], 60)!r}" if raw.targets else "the target"
