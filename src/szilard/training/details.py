"""What a result says beside its figures: how far they may be off, and how each class fares."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from szilard.data import DataSet
from szilard.metrics import Predictive, by_class, intervals
from szilard.metrics.intervals import FEW

_MOST_CLASSES = 1000


def of(
    believed: Predictive, y: Tensor, data: DataSet, *, elsewhere: Predictive | None = None, seed: int = 0
) -> dict[str, Any]:
    """Fields of ``result.json`` and of ``szilard measure --json``.

    Returns:
        "n_test"; where an example has one answer, "intervals": (low, high) by figure, for fewer than 500 examples, and
        "by_class": for classification, a dict a class: "class", "examples", "answered", "precision", "recall" and their
        intervals.
    """
    found: dict[str, Any] = {"n_test": len(y)}
    if (
        len(believed.shape) > 1
    ):  # positions of an example are not independent, so that these intervals would be too short
        return found
    if len(y) < FEW:
        ends = intervals(believed, y, ood=elsewhere, target_scale=data.target_scale, seed=seed)
        found["intervals"] = {name: list(interval) for name, interval in ends.items()}
    if believed.task == "classification" and len(data.classes) <= _MOST_CLASSES:
        rows = by_class(believed, y)
        found["by_class"] = [
            {"class": name, **dataclasses.asdict(row)} for name, row in zip(data.classes, rows, strict=True)
        ]
    return found
