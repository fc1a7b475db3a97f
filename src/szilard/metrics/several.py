"""Metrics of each of several targets or labels, and confidence intervals of metrics over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.metrics import resampled
from szilard.metrics.classwise import OfClass
from szilard.metrics.confidence_intervals import Interval, Rows, intervals, rows_of, wilson
from szilard.metrics.predictive import Predictive, matching_targets
from szilard.metrics.quantities import mixture_nll, of_quantities, within95

_LEAST = torch.finfo(torch.float32).tiny  # smallest probability, whose logarithm is finite


@dataclass(frozen=True)
class OfTarget:
    """Metrics of one of several targets.

    Attributes:
        r2: 1 - squared error / variance of the evaluated targets; NaN if they are all the same.
        rmse, aleatoric, epistemic: in units of the target.
        nll: nats per example, in units of the target.
        coverage95: fraction of targets in the 95 % interval.
        intervals: 95 % intervals of rmse, nll and coverage95, if requested.
    """

    r2: float
    rmse: float
    nll: float
    coverage95: float
    aleatoric: float
    epistemic: float
    intervals: dict[str, Interval]


def by_target(
    predictive: Predictive, y: Tensor, scales: Tensor, *, seed: int = 0, few: bool = False
) -> list[OfTarget]:
    """One entry for each target, in target order.

    Args:
        predictive: of k targets, for ``N`` examples.
        y: targets ``[N, k]`` in the units of the predictions.
        scales: ``[k]`` by which targets were divided.
        few: whether to compute intervals.
        seed: seed of their bootstrap samples.

    Raises:
        SzilardError: targets that do not fit the predictions.
    """
    y = matching_targets(predictive, y)
    found = []
    for number, one in enumerate(_columns(predictive)):
        truth, scale = y[:, number], float(scales[number])
        figures = of_quantities(one, truth, scale)
        ends = intervals(one, truth, target_scale=scale, seed=seed) if few else {}
        found.append(
            OfTarget(
                r2=r2(one, truth),
                **{key: figures[key] for key in ("rmse", "nll", "coverage95", "aleatoric", "epistemic")},
                intervals={key: ends[key] for key in ("rmse", "nll", "coverage95") if key in ends},
            )
        )
    return found


def r2(predictive: Predictive, y: Tensor) -> float:
    """1 - squared error / variance of targets ``[N]``; NaN if they are all the same."""
    spread = float(y.double().var(correction=0))
    error = float((predictive.mean.cpu().double() - y.cpu().double()).square().mean())
    return 1 - error / spread if spread > 0 else float("nan")


def by_label(predictive: Predictive, y: Tensor) -> list[OfClass]:
    """Precision and recall of each label ``[N, k]``, in label order; ``examples`` counts the examples that have it."""
    y, answers = matching_targets(predictive, y), predictive.cpu().labels
    found = []
    for truth, said in zip(y.unbind(1), answers.unbind(1), strict=True):
        n, m, k = int(truth.sum()), int(said.sum()), int((truth * said).sum())
        found.append(OfClass(n, m, k / m if m else None, k / n if n else None, wilson(k, m), wilson(k, n)))
    return found


def several_intervals(
    predictive: Predictive, y: Tensor, scales: Tensor, seed: int = 0
) -> dict[str, Interval]:
    """95 % intervals of metrics over all targets or labels, by bootstrap samples of whole examples.

    Args:
        predictive: of k targets or labels, for ``N`` examples.
        y: ``[N, k]``.
        scales: of targets, ``[k]``; None for labels.
        seed: seed of the samples.
    """
    y, predictive = matching_targets(predictive, y), predictive.cpu()
    rows = rows_of(len(y), seed)
    if predictive.target_type.in_units:
        error = (predictive.mean.double() - y).square()

        def of_r2(index: Tensor) -> Tensor:
            spread = y[index].var(1, correction=0)
            known = spread > 0
            explained = 1 - error[index].mean(1) / torch.where(known, spread, 1.0)
            return torch.where(known, explained, 0.0).sum(1) / known.sum(1)

        return {
            "r2": rows.resampled(of_r2, -torch.inf),
            "nll": rows.mean((mixture_nll(predictive, y) + scales.log()).mean(1), -torch.inf),
            "coverage95": _share(within95(predictive, y).mean(1), rows),
        }
    p = predictive.mean.double()
    chosen = torch.where(y > 0, p, 1 - p)
    right = (predictive.labels == y).double()

    two, k = torch.stack((1 - p.flatten(), p.flatten()), 1), p.shape[1]

    def of_ece(index: Tensor) -> Tensor:
        answers = index[..., None] * k + torch.arange(k)  # all labels of an example are in the same sample
        return resampled.ece(two, y.flatten(), answers.flatten(1))

    terms: dict[str, Callable[[], Tensor]] = {
        "nll": lambda: -chosen.clamp_min(_LEAST).log(),
        "brier": lambda: 2 * (1 - chosen).square(),
        "entropy": lambda: predictive.entropy().double(),
        "aleatoric": lambda: predictive.aleatoric().double(),
        "epistemic": lambda: predictive.epistemic().double(),
    }
    found = {name: rows.mean(values().mean(1), 0.0) for name, values in terms.items()}
    found["accuracy"] = _share(right.mean(1), rows)
    found["accuracy_all"] = wilson(float(right.all(1).sum()), len(y))
    found["ece"] = rows.resampled(of_ece, 0.0)
    return found


def _share(values: Tensor, rows: Rows) -> Interval:
    """Interval of the mean of ``[N]`` fractions. If all are the same, so are the samples, and Wilson's interval of N
    examples is used."""
    share = float(values.mean())
    return rows.mean(values, 0.0, 1.0) if 0 < share < 1 else wilson(share * len(values), len(values))


def _columns(predictive: Predictive) -> list[Predictive]:
    whole = predictive.cpu()
    means, variances = whole.samples, whole.variances
    assert variances is not None
    return [
        Predictive.from_gaussian(means[..., n], variances[..., n]).weighted(whole.weights)
        for n in range(means.shape[2])
    ]
