"""Batch normalisation with what usually follows it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class NormReLU(nn.BatchNorm2d):
    """``relu(norm(x) + shortcut)``: one module, so that it can become one pass over memory.

    A BatchNorm2d in every other respect: same arguments, same parameters and buffers.

    Shapes: ``x [B, C, H, W]`` and ``shortcut`` of the same shape or None, answer of the same shape.
    """

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        y = super().forward(x)
        return F.relu(y if shortcut is None else y + shortcut)
