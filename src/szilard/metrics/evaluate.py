"""How good the predictions are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.metrics.calibration import ece, ece_marginal
from szilard.metrics.overlap import f1, iou
from szilard.metrics.predictive import Predictive, flat
from szilard.metrics.selective import ood_aurocs, risk_coverage


def evaluate(
    predictive: Predictive,
    y: Tensor,
    *,
    ood: Predictive | None = None,
    target_scale: float = 1.0,
    ignore_index: int | None = None,
) -> dict[str, float]:
    """Quality of predictions against the truth.

    Where an example has several answers (pixels, labels, targets), every figure is the mean over all of them.

    Args:
        y: class indices ``[N]`` or ``[N, ...]``; 0 or 1 ``[N, k]``; or targets ``[N]`` or ``[N, k]`` in the units of
            the predictions.
        ood: predictions for inputs from elsewhere; gives the AUROCs of telling them apart.
        target_scale: standard deviation by which regression targets were divided; RMSE, NLL and
            uncertainties come back in original units.
        ignore_index: the label of positions that do not count, such as -100.

    Returns:
        classification: accuracy, nll (nats), brier, ece, ece_marginal, aurc, entropy, aleatoric, epistemic
        (means, nats) and the auroc_* of :func:`~szilard.metrics.ood_aurocs`; with an answer at each position also miou,
        the mean of :func:`~szilard.metrics.iou` over classes that occur; multi-label: the same by label, with
        accuracy_all (the share of examples with every label right) and f1 (mean over labels); regression: rmse, nll (of
        the mixture of the draws), coverage95, aurc, aleatoric and epistemic (standard deviations).

    Raises:
        SzilardError: nothing to evaluate, or targets that do not fit the predictions.
    """
    if not isinstance(predictive, Predictive) or not isinstance(y, Tensor):
        raise SzilardError(
            f"predictions and targets are {type(predictive).__name__} and {type(y).__name__}; give what method.predict "
            "answers, or a szilard.metrics.Predictive, and a tensor"
        )
    if predictive.task == "regression" and ignore_index is not None:
        raise SzilardError("ignore_index is a class label, and a regression has none; leave it out")
    whole, targets = predictive.cpu(), y
    predictive, y = flat(predictive, y, ignore_index)
    if not (target_scale > 0 and math.isfinite(target_scale)):
        raise SzilardError(f"target_scale must be positive and finite, not {target_scale:g}")
    if not len(y):
        raise SzilardError("there is nothing to evaluate: the split is empty or all its labels are ignored")
    if predictive.task == "regression":
        return _regression(predictive, y, target_scale)
    found = _classification(predictive, y)
    if whole.multilabel:
        right = whole.labels == targets.cpu()
        if ignore_index is not None:
            right |= targets.cpu() == ignore_index
        found["accuracy_all"] = float(right.reshape(len(right), -1).all(1).double().mean())
        scores = f1(whole, targets)
        found["f1"] = float(scores.nanmean()) if bool(scores.isfinite().any()) else 0.0
    elif len(whole.shape) > 1:
        found["miou"] = float(iou(whole, targets, ignore_index).nanmean())
    return found | (ood_aurocs(predictive, ood) if ood is not None else {})


def _classification(predictive: Predictive, y: Tensor) -> dict[str, float]:
    p = predictive.mean.double()
    chosen = p[torch.arange(len(y)), y]
    return {
        "accuracy": float((predictive.labels == y).double().mean()),
        "nll": float(-chosen.clamp_min(torch.finfo(torch.float32).tiny).log().mean()),
        "brier": float((p.square().sum(1) - 2 * chosen + 1).mean()),
        "ece": ece(predictive.mean, y),
        "ece_marginal": ece_marginal(p, y),
        "aurc": risk_coverage(predictive, y)[2],
        "entropy": float(predictive.entropy().mean()),
        "aleatoric": float(predictive.aleatoric().mean()),
        "epistemic": float(predictive.epistemic().mean()),
    }


def _regression(predictive: Predictive, y: Tensor, scale: float) -> dict[str, float]:
    if predictive.means is None or predictive.variances is None:
        raise SzilardError("a regression needs means and variances")
    means, variances, y = predictive.means.double(), predictive.variances.double(), y.double()
    log_density = -0.5 * ((y - means).square() / variances + variances.log() + math.log(2 * math.pi))
    mixture = log_density.logsumexp(0) - math.log(len(means)) - math.log(scale)
    below = torch.special.ndtr((y - means) / variances.sqrt()).mean(0)  # the mixture's distribution at y
    return {
        "rmse": float((means.mean(0) - y).square().mean().sqrt()) * scale,
        "nll": float(-mixture.mean()),
        "coverage95": float(((below > 0.025) & (below < 0.975)).double().mean()),
        "aurc": risk_coverage(predictive, y)[2] * scale**2,
        "aleatoric": float(predictive.aleatoric().double().mean().sqrt()) * scale,
        "epistemic": float(predictive.epistemic().double().mean().sqrt()) * scale,
    }
