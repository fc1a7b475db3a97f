"""Inputs in raw units."""

from __future__ import annotations

import torch
from torch import Tensor

FEATURES, CLASSES = 10, 4
UNITS = 10.0 ** torch.linspace(-2, 2, FEATURES)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
