"""Metrics of many bootstrap samples at once, with the same results as the functions for one sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from szilard.metrics.calibration import BINS, bin_of


def ece(p: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """:func:`szilard.metrics.ece` of each sample, ``[S]``.

    Args:
        p: probabilities ``[N, C]``.
        y: labels ``[N]``.
        rows: indices of the examples in each sample, ``[S, n]``.
    """
    confidence, label = p.float().max(1)
    place = bin_of(confidence)
    gap = (label == y).double() - confidence.double()
    return _summed(place[rows], gap[rows], BINS).abs().sum(1) / rows.shape[1]


def ece_marginal(p: Tensor, y: Tensor, rows: Tensor) -> Tensor:
    """:func:`szilard.metrics.ece_marginal` of each sample, ``[S]``; arguments as of :func:`ece`.

    Bins are intervals of the sorted examples, so sums over a bin are differences of sums up to its two ends.
    """
    n = rows.shape[1]
    parts = min(BINS, n)
    size, more = divmod(n, parts)
    number = torch.arange(1, parts)
    starts = (number * size + number.clamp(max=more)).expand(len(rows), -1)
    times = _summed(
        rows, torch.ones(rows.shape, dtype=torch.float64), len(p)
    )  # each example is in each sample
    squares = []
    for label in range(p.shape[1]):
        values, order = p[:, label].double().sort()
        drawn, hit = times.index_select(1, order), (y == label).double()[order]
        reached = _reached(drawn)
        last, first = (
            values[torch.searchsorted(reached, at, right=True)] for at in (starts - 1.0, starts + 0.0)
        )
        ends = torch.searchsorted(values, (last + first) / 2, right=True)
        count, mean, frequency = (
            _between(sums, ends) for sums in (reached, _reached(drawn * values), _reached(drawn * hit))
        )
        mean, frequency = mean / count.clamp(min=1), frequency / count.clamp(min=1)
        noise = frequency * (1 - frequency) / (count - 1).clamp(min=1)
        gap = torch.where(count > 1, (mean - frequency).square() - noise, 0.0)
        squares.append(((count * gap).sum(1) / n).clamp(min=0))
    return torch.stack(squares).mean(0).sqrt()


def aurc(loss: Tensor, unsure: Tensor, rows: Tensor) -> Tensor:
    """Area under :func:`szilard.metrics.risk_coverage` of each sample, ``[S]``.

    Args:
        loss: of each example, ``[N]``.
        unsure: uncertainty of each example, ``[N]``; equal values share their mean loss.
        rows: indices of the examples in each sample, ``[S, n]``.
    """
    levels, group = unsure.unique(return_inverse=True)
    place, loss = group[rows], loss.double()[rows]
    count = _summed(place, torch.ones_like(loss), len(levels))
    shared = _summed(place, loss, len(levels)) / count.clamp(min=1)
    risk = shared.gather(1, place.sort(1).values).cumsum(1)
    return (risk / torch.arange(1, rows.shape[1] + 1)).mean(1)


def _summed(place: Tensor, values: Tensor, bins: int) -> Tensor:
    """Sums ``[S, bins]`` of ``values [S, n]`` in each bin; ``place`` is the bin of each value."""
    return torch.zeros(len(place), bins, dtype=values.dtype).scatter_add_(1, place, values)


def _reached(values: Tensor) -> Tensor:
    """Sums ``[S, N]`` up to each example; NumPy's are several times faster."""
    return torch.from_numpy(np.cumsum(values.numpy(), axis=1))


def _between(sums: Tensor, ends: Tensor) -> Tensor:
    """Differences ``[S, bins]`` of sums ``[S, N]`` up to each example, between the ends ``[S, bins - 1]`` of bins."""
    sums = nn.functional.pad(sums, (1, 0))
    return sums.gather(1, nn.functional.pad(ends, (0, 1), value=sums.shape[1] - 1)).diff(
        dim=1, prepend=sums[:, :1]
    )
