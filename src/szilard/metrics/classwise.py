"""Precision and recall of each class, which accuracy hides where classes are of unequal size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.metrics.confidence_intervals import Interval, wilson
from szilard.metrics.predictive import Predictive, matching_targets


@dataclass(frozen=True)
class OfClass:
    """What a network makes of one class.

    Attributes:
        examples: that have this label.
        answered: how often the network says it.
        precision: share of those answers that are right; None where there is none.
        recall: share of the examples that get this answer; None where there is none.
        precision_interval, recall_interval: 95 %, Wilson.
    """

    examples: int
    answered: int
    precision: float | None
    recall: float | None
    precision_interval: Interval
    recall_interval: Interval


def by_class(predictive: Predictive, y: Tensor) -> list[OfClass]:
    """One entry a class, in their order.

    Args:
        predictive: of classes, for ``N`` examples.
        y: class indices ``[N]``.

    Raises:
        SzilardError: labels that do not fit the predictions, or a regression.
    """
    y, answers = matching_targets(predictive, y), predictive.cpu().labels
    classes = predictive.samples.shape[-1]
    examples, answered, right = (
        torch.bincount(labels, minlength=classes).tolist() for labels in (y, answers, y[answers == y])
    )
    return [
        OfClass(n, m, k / m if m else None, k / n if n else None, wilson(k, m), wilson(k, n))
        for n, m, k in zip(examples, answered, right, strict=True)
    ]
