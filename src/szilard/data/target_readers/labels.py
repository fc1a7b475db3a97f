"""Binary labels from 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard.data import targets
from szilard.data.npz import to_tensor
from szilard.data.raw import Raw
from szilard.data.table import Table
from szilard.data.target_readers.reader import TargetReader, Units, refuse_constant
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import LABELS


class LabelReader(TargetReader):
    """0 or 1, true or false, yes or no; int64 ``[N, k]``, also for one label."""

    target_type = LABELS

    def of_column(self, table: Table, column: int) -> tuple[Tensor, tuple[str, ...]]:
        return self.of_columns(table, (column,)), ()

    def of_columns(self, table: Table, columns: Sequence[int]) -> Tensor:
        values = np.stack([targets.numbers(table, column) for column in columns], 1)
        wrong = ~np.isin(values, (0, 1))
        if wrong.any():
            row, n = (int(index[0]) for index in wrong.nonzero())
            cell = shortened(table.columns[columns[n]][row], 60)
            raise SzilardError(
                f"line {table.lines[row]}, column {table.called(columns[n])} of {table.path} is {cell!r}, and labels "
                "must be 0 or 1; fix it, or use task='regression' for quantities"
            )
        return torch.from_numpy(values).long()

    def strata(self, y: Tensor) -> Tensor:
        """One stratum for each combination of labels."""
        return y.unique(dim=0, return_inverse=True)[1]

    def of_arrays(
        self, arrays: Sequence[np.ndarray], names: Sequence[str], path: Path
    ) -> tuple[list[Tensor], tuple[str, ...]]:
        columns = [to_tensor(array[:, None], name) for array, name in zip(arrays, names, strict=True)]
        return self.of_matrices(columns, path), ()

    def of_matrices(self, matrices: Sequence[Tensor], path: Path) -> list[Tensor]:
        if not all(bool(((y == 0) | (y == 1)).all()) for y in matrices):
            raise SzilardError(
                f"y of {path} has other values than 0 and 1; fix them, or use task='regression'"
            )
        return [y.long() for y in matrices]

    def units(self, raw: Raw, name: str) -> Units:
        refuse_constant(raw, name)
        return 0.0, 1.0
