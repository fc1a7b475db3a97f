"""Overlap of predicted and true labels, for each class or label: confusion matrix, IoU, F1."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.metrics.predictive import Predictive, flat


def confusion(predictive: Predictive, y: Tensor, ignore_index: int | None = None) -> Tensor:
    """Confusion matrix: how often class i (row) was predicted as class j (column), float64 ``[C, C]``, over all
    positions."""
    predictive, y = flat(predictive, y, ignore_index)
    classes = predictive.samples.shape[2]
    pairs = torch.bincount(y * classes + predictive.labels, minlength=classes * classes)
    return pairs.double().reshape(classes, classes)


def iou(predictive: Predictive, y: Tensor, ignore_index: int | None = None) -> Tensor:
    """Intersection over union (Jaccard index) of each class, float64 ``[C]``.

    The number of pixels of a class that are predicted as it, divided by the number that belong to it or are predicted
    as it, over the whole set; NaN for a class that neither occurs nor is predicted.

    Args:
        predictive: ``[S, N, C, ...]``, as :meth:`szilard.methods.Method.predict` gives it.
        y: ``[N, ...]``, class indices.
        ignore_index: the label of positions to leave out.
    """
    table = confusion(predictive, y, ignore_index)
    right = table.diagonal()
    return right / (table.sum(0) + table.sum(1) - right)


def f1(predictive: Predictive, y: Tensor) -> Tensor:
    """F1 score of each label of a multi-label task, float64 ``[k]``; NaN if it neither occurs nor is predicted.

    Args:
        predictive: ``[S, N, k]``, multi-label.
        y: ``[N, k]``, 0 or 1; other values are unknown and left out.
    """
    labels = y.cpu().reshape(len(y), -1)
    there, answered = labels == 1, predictive.labels.cpu().reshape(len(y), -1) == 1
    answered &= (labels == 0) | there
    right = (there & answered).sum(0).double()
    return 2 * right / (there.sum(0) + answered.sum(0))
