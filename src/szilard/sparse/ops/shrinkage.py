"""Operators of solvers for sparse codes: one step's threshold, and a product with codes of few entries."""

from __future__ import annotations

import torch
from torch import Tensor


def shrink(
    x: Tensor,
    gradient: Tensor,
    scale: Tensor,
    previous: Tensor | None,
    momentum: Tensor | None,
    threshold: Tensor,
    passing: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One element-wise step of a solver for sparse codes, for a batch of samples.

    With v = x - scale · gradient + momentum · (x - previous), entries whose magnitude is at least the threshold and
    among the ``passing`` largest magnitudes of their sample are kept as they are (ties: the lowest index first); all
    others are soft-thresholded, sign(v) max(|v| - threshold, 0). Chen et al. 2018 (support selection), Chen et al.
    2021 (momentum).

    Args:
        x: codes ``[B, n]``.
        gradient: ``[B, n]``.
        scale: step size of each sample ``[B]``.
        previous: the codes before ``x``, ``[B, n]``; with ``momentum`` or not at all.
        momentum: ``[B]``.
        threshold: ``[B]``, at least 0.
        passing: how many entries may pass, int64 ``[B]``, any values (below 0 counts as 0, above n as n); None is 0.

    Returns:
        The new codes ``[B, n]``, how many entries of each sample are not zero ``[B]`` and their ℓ₁ norm ``[B]``, all in
        x's dtype. Differentiable in all but ``passing``; which entries pass is a constant, and counts have no gradient.
    """
    v = x - scale[:, None] * gradient
    if previous is not None and momentum is not None:
        v = v + momentum[:, None] * (x - previous)
    size, bound = v.abs(), threshold[:, None]
    result = torch.sign(v) * (size - bound).clamp_min(0)
    if passing is not None:
        order = size.detach().argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(
            1, order, torch.arange(v.shape[1], device=v.device).expand_as(order)
        )
        result = torch.where((rank < passing[:, None]) & (size >= bound), v, result)
    return result, (result.detach() != 0).sum(1).to(x.dtype), result.abs().sum(1)


def event_product(x: Tensor, rows: Tensor) -> Tensor:
    """``x @ rows`` for codes of which few entries are not zero: only the rows of those are read.

    Args:
        x: codes ``[B, n]``.
        rows: ``[n, m]``, contiguous.

    Returns:
        ``[B, m]``.
    """
    return x @ rows


def product(x: Tensor, rows: Tensor, active: float) -> Tensor:
    """``x @ rows``, by the entries of x that are not zero if they are few.

    Args:
        x: codes ``[B, n]``.
        rows: ``[n, m]``, contiguous.
        active: share of the entries of x that are not zero.
    """
    return x @ rows


def weighted_norm(gradient: Tensor, weights: Tensor) -> Tensor:
    """Σ_j w_j |g_bj| of each sample: ``[B, n]``, ``[n]`` -> ``[B]``."""
    return gradient.abs() @ weights
