"""A data set: disjoint training, validation and test parts, and out-of-distribution inputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from szilard.data.image_range import UNIT, Range
from szilard.data.reading import Reading
from szilard.likelihood.targets import DataTargets, TaskName, of_data

Task = TaskName
"""Name of what targets mean: one of :data:`szilard.likelihood.TASKS`."""


def standardised(raw: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(raw - shift) / scale as float32; where shift and scale are float64, computed in float64."""
    shift, scale = shift.to(raw.device), scale.to(raw.device)
    wide = raw.double() if shift.dtype == torch.float64 else raw.float()
    return ((wide - shift) / scale).float()


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and targets of one part.

    Attributes:
        x: ``[N, *input_shape]``, float32, normalised.
        y: ``[N]``; int64 classes, or float32 standardised targets. ``[N, H, W]`` with a class for each pixel; -100
            means no label. ``[N, k]`` for several targets (float32) or binary labels (int64).
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> Split:
        """The same part on another device; ``data.batches`` then makes its batches there."""
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True, eq=False)
class DataSet:
    """Train on ``train``, select models on ``valid``, report on ``test``.

    Attributes:
        name: of the data set, or of the file.
        task: "classification", "multilabel" or "regression".
        train, valid, test: disjoint parts.
        ood: out-of-distribution inputs (their ``y`` has no meaning), or None.
        ood_name: name of these inputs.
        classes: names of the classes, () if there are none.
        shift, scale: x = (raw - shift) / scale, broadcastable to ``input_shape``; computed on ``train`` alone. One pair
            per channel for images (float32), one per column for features (float64, so that a large shift with a small
            scale, as of a time in seconds, keeps its digits).
        target_shift, target_scale: the same for a regression target, in its original units; float64 ``[k]`` for
            several targets.
        feature_names: one per column, () for images.
        targets: names of several targets or of labels, () for one target.
        reading: how a table's columns became features, or None if the data are not a table.
        image_range: lowest and highest value of the training images, bytes divided by 255.
    """

    name: str
    task: Task
    train: Split
    valid: Split
    test: Split
    ood: Split | None
    ood_name: str | None
    classes: tuple[str, ...]
    shift: Tensor = field(repr=False)
    scale: Tensor = field(repr=False)
    target_shift: float | Tensor = 0.0
    target_scale: float | Tensor = 1.0
    feature_names: tuple[str, ...] = ()
    reading: Reading | None = None
    targets: tuple[str, ...] = ()
    image_range: Range = UNIT

    @property
    def input_shape(self) -> tuple[int, ...]:
        """``(C, H, W)`` for images, ``(D,)`` for features."""
        return tuple(self.train.x.shape[1:])

    @property
    def target_type(self) -> DataTargets:
        """The type of the targets, which defines everything that differs between tasks."""
        return of_data(self.task)

    @property
    def n_outputs(self) -> int:
        """Number of classes, of labels or of targets."""
        return self.target_type.n_outputs(self.classes, self.targets)

    @property
    def output_names(self) -> Sequence[str]:
        """Names of the classes, of the labels or of several targets."""
        return self.target_type.output_names(self.classes, self.targets)

    @property
    def is_image(self) -> bool:
        """Whether inputs are images, ``[C, H, W]``."""
        return len(self.input_shape) == 3

    @property
    def is_pictures(self) -> bool:
        """The former name of :attr:`is_image`; it goes with the next release."""
        warnings.warn("DataSet.is_pictures is now DataSet.is_image", DeprecationWarning, stacklevel=2)
        return self.is_image

    @property
    def is_dense(self) -> bool:
        """Whether each pixel has a class."""
        return self.target_type.has_classes and self.train.y.dim() > 1

    @property
    def judged_ood(self) -> Split | None:
        """Out-of-distribution inputs for which a metric is defined: only with classes, else None."""
        return self.ood if self.target_type.has_classes else None

    @property
    def judged_ood_name(self) -> str | None:
        return self.ood_name if self.target_type.has_classes else None

    def normalise(self, raw: Tensor) -> Tensor:
        """Network inputs ``[N, *input_shape]`` from numbers as they are in the data, bytes divided by 255."""
        return standardised(raw, self.shift, self.scale)

    def renormalised(self, shift: Tensor, scale: Tensor) -> DataSet:
        """The same examples with another normalisation, broadcastable to ``input_shape``."""
        if torch.equal(shift, self.shift) and torch.equal(scale, self.scale):
            return self

        def converted(split: Split) -> Split:
            return Split(standardised(self.raw(split.x), shift, scale), split.y)

        train, valid, test = converted(self.train), converted(self.valid), converted(self.test)
        ood = None if self.ood is None else converted(self.ood)
        return replace(self, train=train, valid=valid, test=test, ood=ood, shift=shift, scale=scale)

    def reordered(self, names: Sequence[str]) -> DataSet:
        """The same examples with the features in another order.

        Args:
            names: a permutation of ``feature_names``.
        """
        if tuple(names) == self.feature_names:
            return self
        place = {name: i for i, name in enumerate(self.feature_names)}
        order = torch.tensor([place[name] for name in names])

        def reordered(split: Split) -> Split:
            return Split(split.x[:, order], split.y)

        train, valid, test = reordered(self.train), reordered(self.valid), reordered(self.test)
        ood = None if self.ood is None else reordered(self.ood)
        return replace(
            self, train=train, valid=valid, test=test, ood=ood, shift=self.shift[order], scale=self.scale[order],
            feature_names=tuple(names), reading=None,
        )  # fmt: skip

    def retargeted(self, shift: float | Tensor, scale: float | Tensor) -> DataSet:
        """The same examples with targets in other units, y = (raw - shift) / scale."""
        own = torch.as_tensor(self.target_shift), torch.as_tensor(self.target_scale)
        if not self.target_type.in_units or all(
            bool((mine == other).all()) for mine, other in zip(own, (shift, scale), strict=True)
        ):
            return self

        def converted(split: Split) -> Split:
            return Split(split.x, ((split.y * own[1] + own[0] - shift) / scale).to(split.y))

        train, valid, test = converted(self.train), converted(self.valid), converted(self.test)
        return replace(self, train=train, valid=valid, test=test, target_shift=shift, target_scale=scale)

    def raw(self, x: Tensor) -> Tensor:
        """Undo the normalisation: features in their units, float64; images in theirs, float32, in [0, 1] for bytes."""
        if self.is_image:
            found = x * self.scale.to(x) + self.shift.to(x)
            return found.clamp(*UNIT) if self.image_range == UNIT else found
        return x.double() * self.scale.to(x.device) + self.shift.to(x.device)

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} train, {len(self.valid)} valid, {len(self.test)} test"
        shape = "x".join(map(str, self.input_shape))
        several = f" of {len(self.targets)}" if self.targets else ""
        what = f"{len(self.classes)} classes" if self.classes else f"{self.task}{several}"
        return f"DataSet({self.name}: {shape}, {what}; {sizes}; ood {self.ood_name})"
