"""Calibration: reliability diagrams, calibration errors, temperature scaling."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.errors import SzilardError
from szilard.likelihood.targets import CLASSES
from szilard.metrics.predictive import Predictive, flat, matching_probabilities

BINS = 15


def check_divisor(calibration: Any) -> None:
    """Check the number that divides logits.

    Raises:
        SzilardError: it is no number, not positive or not finite.
    """
    if (
        isinstance(calibration, bool)
        or not isinstance(calibration, Real)
        or not 0 < float(calibration) < math.inf
    ):
        raise SzilardError(f"calibration must be positive and finite, not {calibration!r}")


def ece(probabilities: Tensor, y: Tensor, bins: int = BINS, *, adaptive: bool = False) -> float:
    """Top-label expected calibration error: L1, equal-width bins (Guo et al. 2017).

    Bins are [low, high), the last one closed, as in :func:`reliability`.

    Args:
        probabilities: ``[N, C]``.
        y: class indices ``[N]``.
        bins: number of bins.
        adaptive: bins of equal mass instead, each with the same number of confidences (Nguyen and O'Connor
            2015); equal confidences share a bin.

    Raises:
        SzilardError: invalid arguments, as in :func:`szilard.metrics.evaluate`: NaN, logits, no examples, labels that
            do not fit.
    """
    probabilities, y = matching_probabilities(probabilities, y)
    _check_bins(bins)
    if adaptive:
        return _adaptive(probabilities, y, bins)
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = probabilities.shape[-1]
    # torchmetrics puts a confidence of exactly 1 into an extra bin after the last, and treats values above 1 as
    # logits; it works in float32, so confidences are limited to the largest float32 below 1.
    below_one = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    probabilities = probabilities.float().clamp(max=float(below_one))
    return float(multiclass_calibration_error(probabilities, y, classes, n_bins=bins, norm="l1"))


def bin_of(confidence: Tensor, bins: int = BINS) -> Tensor:
    """The bin of equal width of each confidence in float32, ``[N]``: [low, high), the last one closed."""
    return torch.bucketize(confidence, torch.linspace(0, 1, bins + 1)[1:-1], right=True)


def ece_marginal(probabilities: Tensor, y: Tensor, bins: int = BINS) -> float:
    """Class-wise calibration error: L2, debiased, equal-mass bins (Kumar, Liang and Ma 2019).

    For each class and bin: the squared difference between mean probability and frequency, minus the sampling variance
    of the frequency, weighted by bin mass. A class with a negative sum counts as zero; the result is the root of the
    mean over classes, as in the authors' library, so figures are comparable with papers that use it. Edges are midway
    between neighbouring values, so equal probabilities share a bin in any order of the data; bins of a single example
    have no variance estimate and count as zero.
    """
    probabilities, y = matching_probabilities(probabilities, y)
    _check_bins(bins)
    p, labels = probabilities.double().numpy(), y.numpy()
    n, classes = p.shape
    squares = []
    for label in range(classes):
        values, hit = p[:, label], labels == label
        place = _equal_mass(values, bins)
        count = np.bincount(place)
        mean = np.bincount(place, values) / np.maximum(count, 1)
        frequency = np.bincount(place, hit) / np.maximum(count, 1)
        noise = frequency * (1 - frequency) / np.maximum(count - 1, 1)
        gap = np.where(count > 1, (mean - frequency) ** 2 - noise, 0.0)
        squares.append(max(float(count @ gap) / n, 0.0))
    return float(np.sqrt(np.mean(squares)))


def _equal_mass(values: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each value ``[N]``; edges are midway between neighbouring values."""
    n, parts = len(values), min(bins, len(values))
    size, more = divmod(n, parts)  # the first ones have one more
    number = np.arange(1, parts)
    starts = number * size + np.minimum(number, more)
    order = np.sort(values)
    edges = (order[starts - 1] + order[starts]) / 2  # a bin between equal edges stays empty
    place: np.ndarray = np.searchsorted(edges, values)
    return place


def _adaptive(probabilities: Tensor, y: Tensor, bins: int) -> float:
    p = probabilities.double()
    confidence, right = p.amax(1).numpy(), (p.argmax(1) == y).double().numpy()
    place = _equal_mass(confidence, bins)
    return float(np.abs(np.bincount(place, confidence - right)).sum()) / len(y)


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise SzilardError(f"bins must be at least 1, not {bins}")


def reliability(predictive: Predictive, y: Tensor, bins: int = BINS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The reliability diagram of the top label, over all positions if an input has several.

    Returns:
        edges ``[bins + 1]``; mean confidence, accuracy (NaN in an empty bin) and count, ``[bins]`` each.
    """
    predictive, y = flat(predictive, y)
    confidence = predictive.max_probability().float()  # float32 as in `ece`, so that both use the same bins
    right = (predictive.labels == y).double()
    place = bin_of(confidence, bins)
    count = torch.bincount(place, minlength=bins)
    mean = torch.bincount(place, confidence.double(), minlength=bins) / count
    accuracy = torch.bincount(place, right, minlength=bins) / count
    return torch.linspace(0, 1, bins + 1).double(), mean, accuracy, count


def temperature(logits: Tensor, y: Tensor) -> float:
    """The divisor of ``logits [N, C]`` that minimises the negative log likelihood of ``y [N]``.

    Temperature scaling (Guo et al. 2017). The likelihood is log-concave in 1/T, so a bounded search in ln T finds
    the optimum between exp(-4) and exp(4). If every example is classified correctly there is no optimum, and the search
    stops near its lower bound.
    """
    from scipy.optimize import minimize_scalar

    if logits.dim() != 2 or not len(logits) or y.shape != logits.shape[:1]:
        raise SzilardError(
            f"temperature needs logits [N, C] and labels [N], not {[*logits.shape]} and {[*y.shape]}"
        )
    if not torch.isfinite(logits).all():
        raise SzilardError("temperature was given NaN or infinite logits; the network has diverged")
    logits, y = logits.detach().cpu().double(), CLASSES.checked(y.cpu(), logits.shape[1])

    def nll(log_t: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_t), y))

    return float(np.exp(minimize_scalar(nll, bounds=(-4.0, 4.0), method="bounded").x))
