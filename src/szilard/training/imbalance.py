"""Class weights for data sets with classes of unequal size."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.data import DataSet
from szilard.data.check import IGNORED
from szilard.errors import SzilardError, shortened


def weights(choice: str | None, data: DataSet) -> Tensor | None:
    """``[C]`` class weights for the loss, whose mean over the training labels is 1.

    Args:
        choice: None, or "balanced": N / (C · n_c), so that each class counts as much as any other (King and Zeng 2001,
            Political Analysis 9, section 4).

    Raises:
        SzilardError: another choice, or a regression.
    """
    if choice is None:
        return None
    if choice != "balanced":
        raise SzilardError(
            f"--class-weights must be balanced, not {shortened(repr(choice), 60)}; or leave it out "
            "(in Python: class_weights='balanced')"
        )
    if not data.target_type.has_classes:
        raise SzilardError(
            f"--class-weights is for classification, and {data.name} is {data.task}; leave it out"
        )
    labels = data.train.y[data.train.y != IGNORED].long()  # flat, if there is one for each pixel
    counts = torch.bincount(labels, minlength=len(data.classes)).double()
    return (counts.sum() / (len(counts) * counts.clamp_min(1))).float()
