"""Errors of codes: both averages of decibels, the median, and how many samples were not recovered."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from szilard.solve.samples import batch_error_db, error_db

RECOVERED_DB = -40.0  # a sample whose error is below counts as recovered
_FLOOR_DB = -320.0  # an error of zero
Row = dict[str, Any]


def judged(x: Tensor, truth: Tensor) -> Row:
    """Errors of a batch.

    Args:
        x: codes ``[B, n]``.
        truth: the codes that were measured ``[B, n]``.

    Returns:
        ``ratio_db``, 10 log₁₀ of the summed squared errors over the summed squares; ``mean_db`` and ``median_db`` of
        the samples' own errors; ``lost``, samples whose own error is not below -40 dB; ``samples``.
    """
    own = error_db(x, truth).nan_to_num(nan=torch.inf, neginf=_FLOOR_DB).clamp_min(_FLOOR_DB)
    return {
        "ratio_db": max(batch_error_db(x, truth), _FLOOR_DB),
        "mean_db": float(own.mean()),
        "median_db": float(own.quantile(0.5)),
        "lost": int((own >= RECOVERED_DB).sum()),
        "samples": len(own),
    }


def first_below(errors: list[float], limit: float = RECOVERED_DB) -> int | None:
    """The number of the first layer whose error is at most a limit, counted from 1; None: no layer's is."""
    return next((layer for layer, error in enumerate(errors, 1) if error <= limit), None)
