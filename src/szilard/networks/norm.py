"""Batch normalisation followed by an addition and ReLU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class NormReLU(nn.BatchNorm2d):
    """``relu(norm(x) + shortcut)`` as one module, so that it can be computed in one pass over memory.

    Otherwise a BatchNorm2d: same arguments, same parameters and buffers.

    Shapes: ``x [B, C, H, W]`` and ``shortcut`` of the same shape or None; output of the same shape.
    """

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        y = super().forward(x)
        return F.relu(y if shortcut is None else y + shortcut)
