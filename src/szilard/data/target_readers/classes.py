"""Class numbers from text or whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from szilard.data import check, labels
from szilard.data.npz import to_tensor
from szilard.data.raw import Raw, Request
from szilard.data.table import Table
from szilard.data.target_readers.reader import TargetReader, Units
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import CLASSES


class ClassReader(TargetReader):
    """Classes are the different values of a column, sorted; integers in an array are class numbers."""

    target_type = CLASSES
    balanced = True

    def of_column(self, table: Table, column: int) -> tuple[Tensor, tuple[str, ...]]:
        if table.is_text(column) or table.partly_text(column):
            # Not a NumPy array: there, every cell would take as much memory as the longest one.
            texts = table.texts(column)
            classes = tuple(sorted(set(texts)))
            number = {label: i for i, label in enumerate(classes)}
            return torch.tensor([number[text] for text in texts]), classes
        values = table.numbers(column)
        whole = values == np.round(values)
        if not whole.all():
            row = int(np.argmin(whole))
            raise SzilardError(
                f"line {table.lines[row]}, column {shortened(table.names[column], 60)!r} of {table.path} is "
                f"{shortened(table.columns[column][row], 60)}, which is not a class label; use whole numbers or text, "
                "or task='regression' for a quantity"
            )
        return labels.of_numbers(table.columns[column], values)

    def of_columns(self, table: Table, columns: Sequence[int]) -> NoReturn:
        raise SzilardError(
            f"--task classification is for one target, and --target names {len(columns)}; leave --task out, or name "
            "one column (in Python: task and target)"
        )

    def of_known(self, table: Table, column: int, classes: Sequence[str], network: str) -> Tensor:
        """Class numbers of the network."""
        cells = table.texts(column)
        names = list(dict.fromkeys(cells))
        place = dict(zip(names, labels.places(names, classes), strict=True))
        strange = [name for name in names if place[name] is None]
        if strange:
            row = next(row for row, cell in enumerate(cells) if cell == strange[0])
            where = f"line {table.lines[row]}, column {table.called(column)} of {table.path}"
            raise labels.unknown(where, strange, classes, network)
        return torch.tensor([place[cell] for cell in cells])

    def strata(self, y: Tensor) -> Tensor:
        return y

    def check_training_rows(
        self, table: Table, y: Tensor, train: Tensor, classes: Sequence[str], request: Request
    ) -> None:
        labels.refuse_missing_classes(table, y, train, classes, request)

    def of_arrays(
        self, arrays: Sequence[np.ndarray], names: Sequence[str], path: Path
    ) -> tuple[list[Tensor], tuple[str, ...]]:
        if all(array.dtype.kind == "U" for array in arrays):
            classes = np.unique(np.concatenate(list(arrays)))
            numbers = [np.searchsorted(classes, array).astype(np.int64) for array in arrays]
            return [torch.from_numpy(each) for each in numbers], tuple(map(str, classes))
        given = [to_tensor(array, name) for array, name in zip(arrays, names, strict=True)]
        ys = [check.class_numbers(y, name) for y, name in zip(given, names, strict=True)]
        n_classes = 1 + max((int(y.max()) for y in ys if len(y)), default=0)
        if n_classes > sum(y.numel() for y in ys):
            raise SzilardError(
                f"y of {path} has label {n_classes - 1} but only {sum(map(len, ys))} examples; "
                "number the classes without gaps, or load it with task='regression' if y is a quantity"
            )
        return ys, tuple(str(i) for i in range(n_classes))

    def of_matrices(self, matrices: Sequence[Tensor], path: Path) -> NoReturn:
        raise SzilardError(
            f"y of {path} has {matrices[0].shape[1]} columns, and classes are one number per example, [N]; leave "
            "task='classification' out for labels that are each 0 or 1"
        )

    def check_part(self, y: Tensor, raw: Raw, what: str) -> None:
        check.labels(y, len(raw.classes), what)

    def check_training_part(self, raw: Raw, name: str) -> None:
        if len(raw.classes) < 2:
            raise SzilardError(
                f"{name} has a single class, {shortened(raw.classes[0], 60)!r}; classification needs at least two"
            )
        check.every_class(raw.train.y, raw.classes, name)

    def units(self, raw: Raw, name: str) -> Units:
        return 0.0, 1.0
