"""Quantities, standardised with statistics of the training part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard.data import check, targets
from szilard.data.npz import to_tensor
from szilard.data.raw import Raw
from szilard.data.table import Table
from szilard.data.target_readers.reader import TargetReader, Units, called, refuse_constant
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import QUANTITIES


class QuantityReader(TargetReader):
    """Numbers, float64 ``[N]``, or ``[N, k]`` for several targets."""

    target_type = QUANTITIES

    def of_column(self, table: Table, column: int) -> tuple[Tensor, tuple[str, ...]]:
        if table.is_text(column):
            shown = shortened(table.columns[column][0], 60)
            raise SzilardError(
                f"column {shortened(table.names[column], 60)!r} of {table.path} is text and not a quantity, such as "
                f"{shown!r}; write the numbers alone, without units, or use task='classification' for classes"
            )
        return torch.from_numpy(table.numbers(column)), ()

    def of_columns(self, table: Table, columns: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([targets.numbers(table, column) for column in columns], 1))

    def of_arrays(
        self, arrays: Sequence[np.ndarray], names: Sequence[str], path: Path
    ) -> tuple[list[Tensor], tuple[str, ...]]:
        if all(array.dtype.kind == "U" for array in arrays):
            raise SzilardError(f"y of {path} is text and not a quantity; use task='classification'")
        ys = [to_tensor(array, name) for array, name in zip(arrays, names, strict=True)]
        for y, name in zip(ys, names, strict=True):
            check.finite(y, name)
        return [y.double() for y in ys], ()

    def of_matrices(self, matrices: Sequence[Tensor], path: Path) -> list[Tensor]:
        return [y.double() for y in matrices]

    def units(self, raw: Raw, name: str) -> Units:
        """Mean and standard deviation, ``[k]`` for several targets."""
        refuse_constant(raw, name)
        y = raw.train.y.double()
        shift, scale = y.mean(0), y.std(0, correction=0)
        good = shift.isfinite() & (scale > 0) & scale.isfinite()
        if not bool(good.all()):
            which = int((~good).byte().argmax()) if raw.targets else 0
            column = y[:, which] if raw.targets else y
            raise SzilardError(
                f"{called(raw, which)} of {name} has values too large or too close together to compute with, from "
                f"{float(column.min()):g} to {float(column.max()):g}; rescale the column"
            )
        return (shift, scale) if raw.targets else (float(shift), float(scale))
