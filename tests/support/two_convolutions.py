"""Two convolutions and a linear layer, whose costs can be counted by hand."""

from __future__ import annotations

import torch
from torch import nn


def small():
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 4),
    )
    return nn.Sequential(*layers).eval()
