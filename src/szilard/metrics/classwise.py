"""Precision and recall of each class; accuracy hides them if classes are of unequal size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.metrics.confidence_intervals import Interval, wilson
from szilard.metrics.predictive import Predictive, matching_targets


@dataclass(frozen=True)
class OfClass:
    """Precision and recall of one class.

    Attributes:
        examples: number of examples with this label.
        answered: number of predictions of this class.
        precision: fraction of these predictions that are correct; None without predictions.
        recall: fraction of the examples that are predicted correctly; None without examples.
        precision_interval, recall_interval: 95 %, Wilson.
    """

    examples: int
    answered: int
    precision: float | None
    recall: float | None
    precision_interval: Interval
    recall_interval: Interval


def by_class(predictive: Predictive, y: Tensor) -> list[OfClass]:
    """One entry for each class, in class order.

    Args:
        predictive: of classes, for ``N`` examples.
        y: class indices ``[N]``.

    Raises:
        SzilardError: labels that do not fit the predictions, or a regression.
    """
    y, predicted = matching_targets(predictive, y), predictive.cpu().labels
    classes = predictive.samples.shape[-1]
    examples, answered, right = (
        torch.bincount(labels, minlength=classes).tolist() for labels in (y, predicted, y[predicted == y])
    )
    return [
        OfClass(n, m, k / m if m else None, k / n if n else None, wilson(k, m), wilson(k, n))
        for n, m, k in zip(examples, answered, right, strict=True)
    ]
