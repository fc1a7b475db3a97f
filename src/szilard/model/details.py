"""What a result says beside its figures: how far they may be off, and how each class fares."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from szilard.data import DataSet
from szilard.metrics import OfTarget, Predictive, by_class, by_label, by_target, intervals, several_intervals
from szilard.metrics.confidence_intervals import FEW, Interval

_MOST_CLASSES = 1000


def of(
    believed: Predictive, y: Tensor, data: DataSet, *, elsewhere: Predictive | None = None, seed: int = 0
) -> dict[str, Any]:
    """Fields of ``result.json`` and of ``szilard measure --json``.

    Returns:
        "n_test"; "intervals": (low, high) by figure, for fewer than 500 examples; "by_class": of classes, or of labels
        that are each there or not, a dict each: "class", "examples", "answered", "precision", "recall" and their
        intervals; "by_target": of several quantities, a dict each: "target", "r2", "rmse", "nll", "coverage95",
        "aleatoric", "epistemic" and, for fewer than 500 examples, "intervals". With a class for each pixel "n_test" is
        all, because pixels of an image are not independent, so that intervals would be too short.
    """
    found: dict[str, Any] = {"n_test": len(y)}
    few = len(y) < FEW
    if data.is_dense:
        return found
    if few:
        ends = _intervals(believed, y, data, elsewhere, seed)
        found["intervals"] = {name: list(interval) for name, interval in ends.items()}
    if data.target_type.in_units and data.targets:
        rows = by_target(believed, y, torch.as_tensor(data.target_scale), seed=seed, few=few)
        found["by_target"] = [
            {"target": name, **_plain(row)} for name, row in zip(data.targets, rows, strict=True)
        ]
    names = data.output_names
    if not data.target_type.in_units and len(names) <= _MOST_CLASSES:
        of_classes = by_class(believed, y) if data.target_type.has_classes else by_label(believed, y)
        found["by_class"] = [
            {"class": name, **dataclasses.asdict(one)} for name, one in zip(names, of_classes, strict=True)
        ]
    return found


def _intervals(
    believed: Predictive, y: Tensor, data: DataSet, elsewhere: Predictive | None, seed: int
) -> dict[str, Interval]:
    if data.targets:
        return several_intervals(believed, y, torch.as_tensor(data.target_scale), seed)
    return intervals(believed, y, ood=elsewhere, target_scale=float(data.target_scale), seed=seed)


def _plain(row: OfTarget) -> dict[str, Any]:
    """As JSON, which knows no tuples; without intervals where there are none."""
    fields = dataclasses.asdict(row)
    ends = {name: list(interval) for name, interval in fields.pop("intervals").items()}
    return fields | ({"intervals": ends} if ends else {})
