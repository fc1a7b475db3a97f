"""A data set with the class numbers that a network has, found by the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from szilard.data import labels
from szilard.data.dataset import DataSet, Split


def numbered(data: DataSet, classes: Sequence[str]) -> tuple[DataSet, list[str]]:
    """The same examples with the numbers of other classes; the data need not have all of them.

    Args:
        data: with class names.
        classes: names in the order of their numbers.

    Returns:
        the data, unchanged if there are names that ``classes`` lacks; and these names.
    """
    if not classes or data.classes == tuple(classes):
        return data, []
    places = labels.places(data.classes, classes)
    strange = [name for name, place in zip(data.classes, places, strict=True) if place is None]
    if strange:
        return data, strange
    number = torch.tensor([place for place in places if place is not None])

    def again(split: Split) -> Split:
        y = split.y.long()
        return Split(split.x, torch.where(y >= 0, number[y.clamp_min(0)], y))

    train, valid, test = again(data.train), again(data.valid), again(data.test)
    return replace(data, train=train, valid=valid, test=test, classes=tuple(classes)), []
