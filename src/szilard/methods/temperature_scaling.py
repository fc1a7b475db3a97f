"""Temperature scaling: one number that divides all logits (Guo et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from szilard.errors import SzilardError
from szilard.likelihood.categorical import IGNORED
from szilard.metrics import Predictive, temperature
from szilard.metrics.predictive import flat


def fitted(predictive: Predictive, y: Tensor) -> float:
    """The number that is best for predictions of a point network; 1 if all labels are predicted.

    Args:
        y: the labels, as many as predictions.

    Raises:
        SzilardError: another number of labels.
    """
    if y.numel() != predictive.labels.numel():
        raise SzilardError(
            f"there are {y.numel()} labels for {predictive.labels.numel()} predictions; give a whole split"
        )
    y = y.cpu().reshape(predictive.labels.shape)
    predictive, y = flat(predictive, y, None if predictive.multilabel else IGNORED)
    if bool((predictive.labels == y).all()):
        return 1.0  # without a single error the likelihood has no maximum
    return temperature(predictive.mean.clamp_min(1e-30).log(), y)
