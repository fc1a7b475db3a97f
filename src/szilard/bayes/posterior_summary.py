"""Summary of the posterior: the data of the σ and signal-to-noise histograms."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard.bayes.network_weights import weights


@torch.no_grad()
def diagnostics(network: nn.Module) -> list[dict[str, Any]]:
    """One entry for each weight: name, shape, nnz, density, ``mean``, and for Gaussians ``log_std`` and
    ``snr`` = |μ|/σ."""
    rows = []
    for name, weight in weights(network).items():
        log_std = None if weight.log_std is None else weight.log_std.detach().clone()
        mean = weight.mean.detach().clone()
        rows.append(
            {
                "name": name,
                "shape": tuple(weight.support.shape),
                "nnz": weight.support.nnz,
                "density": weight.support.density,
                "mean": mean,
                "log_std": log_std,
                "snr": None if log_std is None else mean.abs() / log_std.exp(),
            }
        )
    return rows
