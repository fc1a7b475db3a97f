"""Fixed points that stand for draws of a standard normal distribution."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

_MOST = 21201  # dimensions of torch's Sobol sequence


def normal_points(points: int, dimensions: int) -> Tensor:
    """``[points, dimensions]`` quasi-random points (scrambled Sobol), each with its opposite, so that their mean is 0.

    Args:
        points: at least 2; rounded up to an even number.
        dimensions: at least 1.
    """
    return _points(points, dimensions).clone()


@functools.lru_cache(maxsize=8)  # a Sobol sequence takes as long as a small network
def _points(points: int, dimensions: int) -> Tensor:
    half = math.ceil(points / 2)
    if dimensions <= _MOST:
        engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0)
        uniform = engine.draw(half, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        found = torch.special.ndtri(uniform)
    else:
        found = torch.randn(half, dimensions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat((found, -found)).float()


def normal_quantiles(points: int) -> Tensor:
    """``[points]`` quantiles at equal probabilities, float64, scaled so that mean and variance are exactly 0 and 1."""
    found = torch.special.ndtri((torch.arange(points, dtype=torch.float64) + 0.5) / points)
    return found / found.square().mean().sqrt()


def normal_trapezoid(points: int, span: float = 8.0) -> tuple[Tensor, Tensor]:
    """Nodes ``[points]`` from -span to span at equal distances, and their weights, whose sum is 1; float64.

    For a smooth function of a normal variable it converges faster than any power of the distance, also where the
    function varies within a small part of a deviation, as a sigmoid of a wide Gaussian does. Gauss-Hermite nodes are
    too far apart for these.
    """
    nodes = torch.linspace(-span, span, points, dtype=torch.float64)
    weights = torch.exp(-0.5 * nodes.square())
    return nodes, weights / weights.sum()
