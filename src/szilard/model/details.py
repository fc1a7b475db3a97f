"""Details of a result: confidence intervals of its metrics, and metrics by class or target."""

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
    predicted: Predictive, y: Tensor, data: DataSet, *, ood: Predictive | None = None, seed: int = 0
) -> dict[str, Any]:
    """Fields of ``result.json`` and of ``szilard measure --json``.

    Args:
        predicted: predictions for the examples with targets ``y``.
        ood: predictions for out-of-distribution inputs, or None.

    Returns:
        "n_test"; "intervals": (low, high) by metric, for fewer than 500 examples; "by_class": a dict for each class or
        binary label, with "class", "examples", "answered", "precision", "recall" and their intervals; "by_target": a
        dict for each of several quantities, with "target", "r2", "rmse", "nll", "coverage95", "aleatoric", "epistemic"
        and, for fewer than 500 examples, "intervals". With a class for each pixel only "n_test": pixels of an image are
        not independent, so intervals would be too narrow.
    """
    found: dict[str, Any] = {"n_test": len(y)}
    few = len(y) < FEW
    if data.is_dense:
        return found
    if few:
        ends = _intervals(predicted, y, data, ood, seed)
        found["intervals"] = {name: list(interval) for name, interval in ends.items()}
    if data.target_type.in_units and data.targets:
        rows = by_target(predicted, y, torch.as_tensor(data.target_scale), seed=seed, few=few)
        found["by_target"] = [
            {"target": name, **_plain(row)} for name, row in zip(data.targets, rows, strict=True)
        ]
    names = data.output_names
    if not data.target_type.in_units and len(names) <= _MOST_CLASSES:
        of_classes = by_class(predicted, y) if data.target_type.has_classes else by_label(predicted, y)
        found["by_class"] = [
            {"class": name, **dataclasses.asdict(one)} for name, one in zip(names, of_classes, strict=True)
        ]
    return found


def _intervals(
    predicted: Predictive, y: Tensor, data: DataSet, ood: Predictive | None, seed: int
) -> dict[str, Interval]:
    if data.targets:
        return several_intervals(predicted, y, torch.as_tensor(data.target_scale), seed)
    return intervals(predicted, y, ood=ood, target_scale=float(data.target_scale), seed=seed)


def _plain(row: OfTarget) -> dict[str, Any]:
    """As JSON values, without tuples, and without empty intervals."""
    fields = dataclasses.asdict(row)
    ends = {name: list(interval) for name, interval in fields.pop("intervals").items()}
    return fields | ({"intervals": ends} if ends else {})
