"""95 % confidence intervals of metrics on few examples."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from szilard.metrics import resampled
from szilard.metrics.predictive import Predictive, matching_probabilities, matching_targets
from szilard.metrics.quantities import mixture_nll, within95

FEW = 500  #: examples below which figures come with intervals
_DRAWS = 300  # bootstrap samples
_AT_ONCE = 1 << 18  # examples in the samples that are computed together
_Z = 1.959964  # of the normal distribution, for 95 %

Interval = tuple[float, float]


def wilson(hits: float, n: int) -> Interval:
    """The interval of the fraction ``hits`` / n (Wilson 1927, equation 3); [0, 1] for n = 0."""
    if n < 1:
        return 0.0, 1.0
    share = hits / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    # If all or none are hits, an end equals the estimate; rounding must not put the estimate outside.
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def intervals(
    predictive: Predictive,
    y: Tensor,
    *,
    ood: Predictive | None = None,
    target_scale: float = 1.0,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % intervals of the metrics that :func:`szilard.metrics.evaluate` returns for the same arguments.

    Accuracy and coverage: Wilson. OOD AUROCs: DeLong, DeLong and Clarke-Pearson (1988), on the logit scale; that of the
    best score ignores the choice of the score. All others: 300 bootstrap samples of the examples, shifted so that their
    median is the estimate, because a calibration error is larger on a sample with repetitions (Efron and Tibshirani
    1993, chapter 13). The intervals do not include the variation between training sets and seeds.

    Args:
        predictive, y, ood, target_scale: as for :func:`szilard.metrics.evaluate`.
        seed: seed of the bootstrap samples, which use a separate generator.
    """
    predictive, y = predictive.cpu(), matching_targets(predictive, y)
    rows = rows_of(len(y), seed).index
    classes = predictive.target_type.has_classes
    found = _classes(predictive, y, rows) if classes else _quantities(predictive, y, rows, target_scale)
    if classes and ood is not None:
        found |= _aurocs(predictive, ood.cpu())
    return found


class Rows:
    """Bootstrap samples of examples.

    Args:
        index: ``[samples, N]``, indices of examples.
    """

    def __init__(self, index: Tensor) -> None:
        self.index = index

    def mean(self, values: Tensor, least: float, most: float = math.inf) -> Interval:
        """Interval of the mean of ``values [N]``."""
        return self.resampled(_mean_of(values), least, most)

    def resampled(self, figure: Callable[[Tensor], Tensor], least: float, most: float = math.inf) -> Interval:
        """Interval of a figure within ``least`` and ``most``; ``figure`` maps example indices ``[S, n]`` to ``[S]``."""
        low, high = _resampled(figure, self.index, least)
        return low, min(most, high)


def rows_of(n: int, seed: int) -> Rows:
    """Bootstrap samples of n examples, from a separate generator."""
    draws = torch.Generator().manual_seed(seed % (1 << 63))
    return Rows(torch.randint(n, (_DRAWS, n), generator=draws))


def _classes(predictive: Predictive, y: Tensor, rows: Tensor) -> dict[str, Interval]:
    matching_probabilities(predictive.mean, y)  # no NaN
    p = predictive.mean.double()
    chosen = p[torch.arange(len(y)), y]
    means = {
        "nll": -chosen.clamp_min(torch.finfo(torch.float32).tiny).log(),
        "brier": p.square().sum(1) - 2 * chosen + 1,
        "entropy": predictive.entropy().double(),
        "aleatoric": predictive.aleatoric().double(),
        "epistemic": predictive.epistemic().double(),
    }
    found = {name: _resampled(_mean_of(v), rows, 0.0) for name, v in means.items()}

    def asked(of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Interval:
        return _resampled(lambda i: of(predictive.mean, y, i), rows, 0.0)

    wrong, unsure = predictive.labels != y, -predictive.max_probability()
    found["accuracy"] = wilson(float((predictive.labels == y).sum()), len(y))
    found["ece"] = asked(resampled.ece)
    found["ece_marginal"] = asked(resampled.ece_marginal)
    found["aurc"] = _resampled(lambda i: resampled.aurc(wrong, unsure, i), rows, 0.0)
    return found


def _quantities(predictive: Predictive, y: Tensor, rows: Tensor, scale: float) -> dict[str, Interval]:
    means = predictive.samples.double()
    nll = mixture_nll(predictive, y) + math.log(scale)
    inside = float(within95(predictive, y).sum())
    roots = {
        "rmse": (predictive.averaged(means) - y).square(),
        "aleatoric": predictive.aleatoric().double(),
        "epistemic": predictive.epistemic().double(),
    }
    found = {name: _resampled(_root_of(v, scale), rows, 0.0) for name, v in roots.items()}
    squared, variance = scale**2 * (predictive.mean - y).double().square(), predictive.variance
    found["nll"] = _resampled(_mean_of(nll), rows, -math.inf)
    found["coverage95"] = wilson(inside, len(y))
    found["aurc"] = _resampled(lambda i: resampled.aurc(squared, variance, i), rows, 0.0)
    return found


def _mean_of(values: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda rows: values[rows].mean(1)


def _root_of(values: Tensor, scale: float) -> Callable[[Tensor], Tensor]:
    return lambda rows: scale * values[rows].mean(1).sqrt()


def _resampled(figure: Callable[[Tensor], Tensor], rows: Tensor, least: float) -> Interval:
    """Percentiles of a figure over bootstrap samples ``rows [S, n]``, about its value for all examples."""
    n = rows.shape[1]
    value = float(figure(torch.arange(n)[None]))
    sampled = torch.cat([figure(part) for part in rows.split(max(1, _AT_ONCE // n))]).double()
    low, middle, high = sampled.quantile(torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)).tolist()
    return max(least, value + low - middle), value + high - middle


def _aurocs(inside: Predictive, outside: Predictive) -> dict[str, Interval]:
    scores = {
        "auroc_max_probability": (-inside.max_probability(), -outside.max_probability()),
        "auroc_entropy": (inside.entropy(), outside.entropy()),
    }
    if inside.n_samples > 1:
        scores["auroc_mutual_information"] = (inside.epistemic(), outside.epistemic())
    areas = {name: _delong(*pair) for name, pair in scores.items()}
    found = {name: (low, high) for name, (_, low, high) in areas.items()}
    best = max(areas, key=lambda name: areas[name][0])
    return found | {"auroc_best": found[best]}


def _delong(inside: Tensor, outside: Tensor) -> tuple[float, float, float]:
    """Area under the ROC curve, and its interval; V10 and V01 are defined in equations 4 and 5 of DeLong et al."""
    low, high = inside.double().sort().values, outside.double().sort().values

    def below(values: Tensor, of: Tensor) -> Tensor:
        """For each value, the fraction of the sorted ``of`` that is below it; ties count half."""
        return (torch.searchsorted(of, values) + torch.searchsorted(of, values, right=True)) / (2 * len(of))

    v10, v01 = below(high, low), 1 - below(low, high)
    area = float(v10.double().mean())
    variance = sum(float(v.double().var(correction=1)) / len(v) for v in (v10, v01) if len(v) > 1)
    if not 0 < area < 1:  # the logit is infinite here; use the rule of three
        spread = min(1.0, 3 / min(len(low), len(high)))
        return area, max(0.0, area - spread), min(1.0, area + spread)
    logit, half = math.log(area / (1 - area)), _Z * math.sqrt(variance) / (area * (1 - area))
    return area, _sigmoid(logit - half), _sigmoid(logit + half)


def _sigmoid(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))
