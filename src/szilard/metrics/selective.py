"""Selective prediction (risk-coverage curves) and detection of out-of-distribution inputs (AUROC)."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.metrics.predictive import Predictive, flat


def risk_coverage(predictive: Predictive, y: Tensor) -> tuple[Tensor, Tensor, float]:
    """Mean loss over the most certain inputs, for every fraction of them.

    Loss is 0/1 error ordered by max-probability, or squared error ordered by predictive variance.
    Inputs of equal uncertainty share their mean loss, the expected loss of a random choice among them, so
    the order of the data does not matter (a saturated network has probability 1 for thousands of inputs). If an input
    has several targets, each of them counts as an input.

    Returns:
        coverage ``[N]`` (1/N to 1), risk ``[N]``, and the area under the curve (AURC; Geifman and El-Yaniv 2017).
    """
    predictive, y = flat(predictive, y)
    if not len(y):
        raise SzilardError("a risk-coverage curve needs at least one input")
    if predictive.target_type.in_units:
        loss, unsure = (predictive.mean - y).double().square(), predictive.variance
    else:
        loss, unsure = (predictive.labels != y).double(), -predictive.max_probability()
    _, group, size = unsure.unique(return_inverse=True, return_counts=True)
    shared = torch.bincount(group, loss) / size
    count = torch.arange(1, len(y) + 1, dtype=torch.float64)
    risk = shared.repeat_interleave(size).cumsum(0) / count
    return count / len(y), risk, float(risk.mean())


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Area under the ROC curve of a score that should be larger outside: ``[N]`` against ``[M]``."""
    from sklearn.metrics import roc_auc_score

    if not len(inside) or not len(outside):
        raise SzilardError("an OOD AUROC needs at least one input inside and one outside the distribution")
    scores = torch.cat([inside.flatten(), outside.flatten()]).cpu().double()
    if not bool(torch.isfinite(scores).all()):
        raise SzilardError("an OOD AUROC was given NaN or infinite scores; the network has diverged")
    truth = torch.cat([torch.zeros(inside.numel()), torch.ones(outside.numel())])
    return float(roc_auc_score(truth.numpy(), scores.numpy()))


def ood_aurocs(inside: Predictive, outside: Predictive) -> dict[str, float]:
    """AUROC of three scores, and the best of them, because the best score differs between networks."""
    found = {
        "auroc_max_probability": auroc(-inside.max_probability(), -outside.max_probability()),
        "auroc_entropy": auroc(inside.entropy(), outside.entropy()),
    }
    if inside.n_samples > 1:  # the mutual information of a single draw is rounding noise
        found["auroc_mutual_information"] = auroc(inside.epistemic(), outside.epistemic())
    return found | {"auroc_best": max(found.values())}
