"""Arguments and results of the readers: a request, and the parts as read, not yet normalised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from szilard.data.dataset import Split, Task
from szilard.data.image_range import UNIT, Range
from szilard.data.reading import Missing, Reading
from szilard.likelihood.targets import DataTargets, of_data


@dataclass(frozen=True)
class Request:
    """The arguments of :func:`szilard.data.load`, with defaults filled in."""

    name: str
    root: Path
    target: str | None = None
    split: int = 0
    n_train: int | None = None
    seed: int = 0
    ood: str | None = None
    task: Task | None = None
    drop_constant: bool = False
    ignore: tuple[str, ...] = ()
    missing: Missing = "refuse"
    date: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    decimal: str | None = None
    categorical: tuple[str, ...] = ()

    @property
    def target_type(self) -> DataTargets | None:
        """The type of the targets given by the user, or None."""
        return None if self.task is None else of_data(self.task)


@dataclass(frozen=True, eq=False)
class Raw:
    """Parts as read: images ``[N, C, H, W]`` uint8 or float, features ``[N, D]`` float.

    Attributes:
        targets: names of several targets or of labels, () for one target.
        reading: how a table's columns became features, or None.
        column_groups: for each column, the index of the file's column that it encodes; () if there is one each.
        ood: out-of-distribution inputs from the source itself, raw, or None.
        ood_name: name of these inputs.
        image_range: lowest and highest value of training images, bytes divided by 255.
    """

    task: Task
    train: Split
    valid: Split
    test: Split
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    column_groups: tuple[int, ...] = ()
    reading: Reading | None = None
    ood: Tensor | None = None
    ood_name: str | None = None
    image_range: Range = UNIT

    @property
    def target_type(self) -> DataTargets:
        return of_data(self.task)
