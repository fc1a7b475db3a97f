"""Whether draws can be trusted: R̂, effective sample sizes and k̂, by arviz-stats.

They are computed for functions of the network, such as its outputs for a few inputs, and never for weights: networks
with permuted units are the same function, so chains of weights disagree although their predictions agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.errors import SzilardError

RHAT = 1.05  #: above it, chains have not explored the same distribution (1.01 for figures that are published)


@dataclass(frozen=True)
class Diagnostics:
    """Of several chains of the same length.

    Attributes:
        rhat: rank-normalised split R̂ of each function, ``[F]``; 1 is perfect.
        ess_bulk, ess_tail: effective number of draws of each function, ``[F]``, for means and for quantiles.
        chains, draws: number of chains, and of draws of each.
    """

    rhat: Tensor
    ess_bulk: Tensor
    ess_tail: Tensor
    chains: int
    draws: int

    @property
    def worst_rhat(self) -> float:
        """The largest R̂ of a function."""
        return float(self.rhat.max())

    @property
    def least_ess(self) -> float:
        """The smallest effective number of draws for means."""
        return float(self.ess_bulk.min())

    @property
    def agree(self) -> bool:
        """Whether all chains have explored the same distribution, as far as R̂ can tell."""
        return self.worst_rhat <= RHAT


def diagnose(values: Tensor) -> Diagnostics:
    """Diagnostics of functions of the draws.

    Functions that are constant over all draws are left out: they have no R̂.

    Args:
        values: ``[chains, draws, functions]``, the functions' values for each draw in the order of the chain.

    Raises:
        SzilardError: one chain, fewer than four draws of each, values that are not finite, or only constant functions.
    """
    if values.dim() != 3:
        raise SzilardError(f"values of draws must be [chains, draws, functions], not {list(values.shape)}")
    chains, draws, _ = values.shape
    if chains < 2:
        raise SzilardError("R̂ compares chains, and there is one; run at least two (chains=2)")
    if draws < 4:
        raise SzilardError(
            f"R̂ needs at least four draws of each chain, and there are {draws}; keep more draws"
        )
    array = values.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise SzilardError(
            "a draw gives NaN or infinite values; the chain has diverged, so use a smaller step"
        )
    array = array[:, :, array.reshape(-1, array.shape[2]).std(0) > 0]
    if not array.shape[2]:
        raise SzilardError("all draws are the same network, so that there is nothing to compare")
    stats = _stats()
    by_function = np.moveaxis(array, 2, 0)  # [functions, chains, draws]
    found = (
        stats.rhat(by_function, method="rank"),
        stats.ess(by_function, method="bulk"),
        stats.ess(by_function, method="tail", prob=(0.1, 0.9)),
    )
    rhat, bulk, tail = (torch.from_numpy(np.atleast_1d(np.asarray(one, dtype=np.float64))) for one in found)
    return Diagnostics(rhat.nan_to_num(torch.inf), bulk.nan_to_num(0.0), tail.nan_to_num(0.0), chains, draws)


def pareto_khat(log_ratios: Tensor) -> tuple[float, Tensor]:
    """k̂ of importance weights, and the smoothed weights (PSIS, Vehtari et al. 2024).

    Args:
        log_ratios: ln p(θ)/q(θ) of draws from q, up to a constant, ``[S]``.

    Returns:
        k̂, and ln of the weights, float64 ``[S]``, whose sum is 1. Above 0.7 the weights are not to be used.

    Raises:
        SzilardError: fewer than 25 draws, from which no tail is seen, or ratios that are not finite.
    """
    if log_ratios.dim() != 1 or len(log_ratios) < 25:
        raise SzilardError(f"k̂ needs at least 25 draws in one row, not {list(log_ratios.shape)}; draw more")
    if not bool(log_ratios.isfinite().all()):
        raise SzilardError("a density ratio is NaN or infinite; the approximation has broken down")
    # It takes the negative of ln of the weights: the log likelihoods of leave-one-out, for which it is made.
    logs, khat = _stats().psislw(-log_ratios.detach().cpu().double().numpy())
    made = torch.from_numpy(np.asarray(logs, dtype=np.float64))
    return float(khat), made - made.logsumexp(0)


def _stats() -> Any:
    from arviz_stats.base import array_stats

    return array_stats
