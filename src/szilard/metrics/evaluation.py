"""Quality metrics of predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.metrics.calibration import ece, ece_marginal
from szilard.metrics.overlap import f1, iou
from szilard.metrics.predictive import Predictive, flat
from szilard.metrics.quantities import of_quantities
from szilard.metrics.selective import ood_aurocs, risk_coverage
from szilard.metrics.several import by_target


def evaluate(
    predictive: Predictive,
    y: Tensor,
    *,
    ood: Predictive | None = None,
    target_scale: float | Tensor = 1.0,
    ignore_index: int | None = None,
) -> dict[str, float]:
    """Quality metrics of predictions against the targets.

    If an example has several targets (pixels, labels, quantities), every figure is the mean over all of them. For
    several targets with different units see ``target_scale``.

    Args:
        predictive: for ``N`` examples.
        y: class indices ``[N]`` or ``[N, ...]``; 0 or 1 ``[N, k]``; or targets ``[N]`` or ``[N, k]`` in the units of
            the predictions.
        ood: predictions for out-of-distribution inputs; adds the AUROCs of detecting them.
        target_scale: standard deviation by which regression targets were divided; RMSE, NLL and
            uncertainties are returned in original units. ``[k]`` for k targets: NLL and coverage are means over the
            targets, in the units of each; ``r2``, the mean of 1 - squared error / variance, replaces the figures
            with a unit, which :func:`szilard.metrics.by_target` returns for each target.
        ignore_index: the label of positions to leave out, such as -100.

    Returns:
        classification: accuracy, nll (nats), brier, ece, ece_marginal, aurc, entropy, aleatoric, epistemic
        (means, nats) and the auroc_* of :func:`~szilard.metrics.ood_aurocs`; with a class for each position also miou,
        the mean of :func:`~szilard.metrics.iou` over classes that occur; multi-label: the same by label, with
        accuracy_all (fraction of examples with all labels correct) and f1 (mean over labels); regression: rmse, nll (of
        the mixture of the draws), coverage95, aurc, aleatoric and epistemic (standard deviations).

    Raises:
        SzilardError: nothing to evaluate, or targets that do not fit the predictions.
    """
    if not isinstance(predictive, Predictive) or not isinstance(y, Tensor):
        raise SzilardError(
            f"predictions and targets are {type(predictive).__name__} and {type(y).__name__}; give the result of "
            "method.predict, or another szilard.metrics.Predictive, and a tensor"
        )
    if predictive.target_type.in_units and ignore_index is not None:
        raise SzilardError("ignore_index is a class label, and a regression has none; leave it out")
    whole, targets = predictive.cpu(), y
    predictive, y = flat(predictive, y, ignore_index)
    scales = torch.as_tensor(target_scale, dtype=torch.float64).cpu()
    if not bool(((scales > 0) & scales.isfinite()).all()):
        raise SzilardError(f"target_scale must be positive and finite, not {_shown(scales)}")
    if scales.dim() and whole.samples.shape[2:] != scales.shape:
        raise SzilardError(
            f"target_scale has shape {list(scales.shape)}, and the predictions have shape {list(whole.shape)}; give "
            "one scale, or one for each target"
        )
    if not len(y):
        raise SzilardError("there is nothing to evaluate: the split is empty or all its labels are ignored")
    if predictive.target_type.in_units:
        if scales.dim():
            return _of_targets(whole, targets, scales)
        return of_quantities(predictive, y, float(scales))
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


def _of_targets(predictive: Predictive, y: Tensor, scales: Tensor) -> dict[str, float]:
    rows = by_target(predictive, y, scales)
    explained = torch.tensor([row.r2 for row in rows], dtype=torch.float64)
    return {
        "r2": float(explained.nanmean()),
        "nll": sum(row.nll for row in rows) / len(rows),
        "coverage95": sum(row.coverage95 for row in rows) / len(rows),
    }


def _shown(scales: Tensor) -> str:
    return f"{float(scales):g}" if not scales.dim() else str(scales.tolist())
