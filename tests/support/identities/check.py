"""The result of a check: the largest error and its bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Check:
    name: str
    error: float
    bound: float
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.error <= self.bound


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relative(ours: Tensor, theirs: Tensor) -> float:
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).norm() / theirs.norm())
