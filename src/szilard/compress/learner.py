"""A rounded tensor whose levels go on learning.

The value is scale_r · base · round(level): rounding passes the gradient through as if it were not there (Bengio et al.
2013). Bits are priced by how often each magnitude is taken now, -log2 of its share; between two magnitudes the price
is a straight line, so that its slope pulls every level inwards by what a step would save.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from szilard.compress.draft import ROWS, STEPS, Quantised

REFRESH = 25  # steps between two counts of the levels
MOST = 15  # magnitudes beyond share a rate
STEEPEST = 8.0  # bits a level


class With(nn.Module):
    """A network called with other weights."""

    def __init__(self, network: nn.Module, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._call = lambda *x: functional_call(network, weights, x)

    def forward(self, *x: Tensor) -> Tensor:
        return self._call(*x)


class Learner:
    """A quantised tensor whose levels and factors may move."""

    def __init__(self, name: str, quantised: Quantised, like: Tensor) -> None:
        self.name, self.like, self.code = name, like, quantised.step
        self.base = 2.0 ** (quantised.step / STEPS)
        row = np.zeros(len(quantised.levels)) if quantised.row is None else quantised.row
        self.levels = torch.from_numpy(quantised.levels.astype(np.float32)).requires_grad_()
        self.scale = torch.from_numpy(row * (math.log(2) / ROWS)).float().requires_grad_()
        self.slopes = torch.zeros(MOST + 1)

    def value(self) -> Tensor:
        """The tensor, with the gradient of rounding taken to be 1."""
        rounded = self.levels + (self.levels.round() - self.levels).detach()
        return (rounded * (self.scale.exp() * self.base)[:, None]).reshape(self.like.shape).to(self.like)

    def count(self) -> None:
        """Bits that a step outwards costs, by magnitude, from how often each is taken now."""
        sizes = self.levels.detach().round().abs().clamp_max(MOST + 1).long().flatten()
        often = torch.bincount(sizes, minlength=MOST + 2).float() + 0.5
        often[1:] /= 2  # two signs
        self.slopes = (often[:-1] / often[1:]).log2().clamp(0, STEEPEST)

    def bits(self) -> Tensor:
        """A rate whose slope is right."""
        size = self.levels.abs()
        return (self.slopes[size.detach().clamp_max(MOST).long()] * size).sum()

    def settle(self) -> None:
        """Take the factors to the file's grid; what is learnt from here on knows of it."""
        with torch.no_grad():
            self.scale.copy_(torch.from_numpy(self._codes()).float() * (math.log(2) / ROWS))
            self.scale.requires_grad_(False)

    def quantised(self) -> Quantised:
        levels = self.levels.detach().round().to(torch.int32).numpy()
        codes = self._codes()
        return Quantised(levels, self.code, codes if codes.any() else None)

    def _codes(self) -> np.ndarray:
        codes = (self.scale.detach().double() * (ROWS / math.log(2))).round().clamp(-128, 127)
        return codes.to(torch.int8).numpy()
