"""Are the probabilities true? Reliability, calibration errors, temperature scaling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.metrics.predictive import Predictive

BINS = 15


def ece(probabilities: Tensor, y: Tensor, bins: int = BINS) -> float:
    """Top-label expected calibration error: L1, equal-width bins (Guo et al. 2017)."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = probabilities.shape[-1]
    return float(multiclass_calibration_error(probabilities, y, classes, n_bins=bins, norm="l1"))


def ece_marginal(probabilities: Tensor, y: Tensor, bins: int = BINS) -> float:
    """Class-wise calibration error: L2, debiased, equal-mass bins (Kumar, Liang and Ma 2019).

    For each class and bin the squared gap between mean probability and frequency, less the variance that
    sampling alone gives the frequency; weighted by bin mass, averaged over classes, then the root of it.
    """
    p, n = probabilities.double().cpu().numpy(), len(y)
    total = 0.0
    for label in range(p.shape[1]):
        hit = (y.cpu().numpy() == label).astype(float)
        for part in np.array_split(np.argsort(p[:, label], kind="stable"), min(bins, n)):
            frequency = hit[part].mean()
            noise = frequency * (1 - frequency) / (len(part) - 1) if len(part) > 1 else 0.0
            total += len(part) / n * ((p[part, label].mean() - frequency) ** 2 - noise)
    return float(np.sqrt(max(total / p.shape[1], 0.0)))


def reliability(predictive: Predictive, y: Tensor, bins: int = BINS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The reliability diagram of the top label.

    Returns:
        edges ``[bins + 1]``; mean confidence, accuracy (NaN where a bin is empty) and count, ``[bins]`` each.
    """
    confidence = predictive.max_probability().double()
    right = (predictive.labels == y).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(confidence, edges[1:-1].to(confidence), right=False)
    count = torch.bincount(place, minlength=bins)
    mean = torch.bincount(place, confidence, minlength=bins) / count
    accuracy = torch.bincount(place, right, minlength=bins) / count
    return edges, mean, accuracy, count


def temperature(logits: Tensor, y: Tensor) -> float:
    """The number that divides ``logits [N, C]`` with the least negative log likelihood of ``y [N]``."""
    from scipy.optimize import minimize_scalar

    logits = logits.detach().double()

    def nll(log_t: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_t), y))

    return float(np.exp(minimize_scalar(nll, bounds=(-4.0, 4.0), method="bounded").x))
