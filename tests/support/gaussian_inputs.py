"""Inputs for tests of means and variances."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.bayes.moments.value import GaussianTensor


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers, the same for each seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def certain(x: Tensor) -> GaussianTensor:
    """Gaussians without variance."""
    return GaussianTensor(x.clone(), torch.zeros_like(x))
