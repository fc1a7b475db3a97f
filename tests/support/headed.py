"""A network with one output layer for sequences."""

from __future__ import annotations

import torch
from torch import nn


class Head(nn.Module):
    """The outputs of a module, flattened to ``[B, K]``."""

    def __init__(self, inner, then=lambda y: y):
        super().__init__()
        self.inner, self.then = inner, then

    def forward(self, x):
        return self.then(self.inner(x)).flatten(1)


def last(output):
    return output[0][:, -1]


def sequences(n=24, *shape):
    return torch.randn(n, *(shape or (5, 4)), generator=torch.Generator().manual_seed(0))
