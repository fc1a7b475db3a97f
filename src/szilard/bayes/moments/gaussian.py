"""Moments of functions of Gaussian variables.

All formulas are sums of terms that do not cancel, as far as possible: a variance is never the difference of a second
moment and a squared mean, which is noise in float32 if the mean is much larger than the standard deviation.

With Φ and φ the standard normal distribution function and density, δ(a) = a Φ(a) + φ(a) is the mean of
max(a + ε, 0), and δ(a) = a + δ(-a).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
NODES = 21  # of the Gauss-Hermite quadrature
_FAR = 20.0  # beyond so many deviations nothing changes in double precision


def cdf(z: Tensor) -> Tensor:
    """Φ(z)."""
    return 0.5 * torch.erfc(z * -math.sqrt(0.5))


def pdf(z: Tensor) -> Tensor:
    """φ(z)."""
    return torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))


def _excess(distance: Tensor) -> Tensor:
    """δ(-a) for a = ``distance`` ≥ 0, at least zero."""
    return (pdf(distance) - distance * cdf(-distance)).clamp_min(0)


def _divisor(std: Tensor) -> Tensor:
    """A standard deviation to divide by: zero becomes the smallest number."""
    return std.clamp_min(torch.finfo(std.dtype).tiny)


def relu(mean: Tensor, variance: Tensor) -> Pair:
    """Moments of max(x, 0): the case of :func:`maximum` where the second variable is zero."""
    std = _divisor(variance.sqrt())
    z = (mean / std).clamp(-_FAR, _FAR)
    distance = z.abs()
    excess = _excess(distance)
    share = (cdf(z) - (distance + excess) * excess).clamp_min(0)
    return mean.clamp_min(0) + std * excess, variance * share


def leaky_relu(mean: Tensor, variance: Tensor, slope: float | Tensor) -> Pair:
    """Moments of max(x, 0) + slope · min(x, 0), exact: Cov(x, max(x, 0)) = v Φ(μ / √v)."""
    std = _divisor(variance.sqrt())
    z = (mean / std).clamp(-_FAR, _FAR)
    distance, above = z.abs(), cdf(z)
    excess = _excess(distance)
    share = (above - (distance + excess) * excess).clamp_min(0)
    rest = 1 - slope
    spread = slope**2 + rest**2 * share + 2 * slope * rest * above
    return slope * mean + rest * (mean.clamp_min(0) + std * excess), variance * spread.clamp_min(0)


def maximum(first: Pair, second: Pair) -> Pair:
    """Moments of the maximum of two independent Gaussians (Clark 1961).

    Clark's second moment minus his squared mean is v₁ Φ(a) + v₂ Φ(-a) - θ² δ(a) δ(-a) with θ² = v₁ + v₂ and
    a = (μ₁ - μ₂) / θ, which does not contain the means.
    """
    (m1, v1), (m2, v2) = first, second
    squared = v1 + v2
    theta = _divisor(squared.sqrt())
    a = ((m1 - m2) / theta).clamp(-_FAR, _FAR)
    distance = a.abs()
    excess = _excess(distance)
    below = cdf(a)
    variance = v1 * below + v2 * cdf(-a) - squared * (distance + excess) * excess
    return torch.maximum(m1, m2) + theta * excess, variance.clamp_min(0)


def clip(mean: Tensor, variance: Tensor, low: float, high: float) -> Pair:
    """Moments of min(max(x, low), high), relative to the clipped mean so that large bounds do not cancel."""
    std = _divisor(variance.sqrt())
    origin = mean.clamp(low, high)
    a, b = (((bound - mean) / std).clamp(-_FAR, _FAR) for bound in (low, high))
    inside = cdf(b) - cdf(a)
    shift = mean - origin
    down, up = low - origin, high - origin
    first = _times(down, cdf(a)) + _times(up, cdf(-b)) + shift * inside + std * (pdf(a) - pdf(b))
    second = (
        _times(down.square(), cdf(a))
        + _times(up.square(), cdf(-b))
        + (shift.square() + variance) * inside
        + std * (_times(shift + down, pdf(a)) - _times(shift + up, pdf(b)))
    )
    return origin + first, (second - first.square()).clamp_min(0)


def log_normal(mean: Tensor, variance: Tensor) -> Pair:
    """Moments of e^x: E = e^(μ + v/2), and the variance E² (e^v - 1)."""
    first = (mean + 0.5 * variance).exp()
    return first, first.square() * variance.expm1()


def _times(value: Tensor, weight: Tensor) -> Tensor:
    """A product in which a bound at infinity with weight zero counts as zero."""
    return torch.where(weight > 0, value, 0) * weight


@functools.cache
def _nodes() -> tuple[tuple[float, float], ...]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return tuple((float(x), float(w)) for x, w in zip(nodes, weights / weights.sum(), strict=True))


def quadrature(function: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor) -> Pair:
    """Moments of a smooth function of each variable by Gauss-Hermite quadrature with :data:`NODES` nodes.

    Deviations below h = ε^(1/3) max(|μ|, 1), with ε the precision of the numbers, are replaced by h, and the results
    are scaled back by v / h²: differences of values that are closer would be rounding errors.

    Args:
        function: elementwise.
    """
    std = variance.sqrt()
    step = torch.finfo(mean.dtype).eps ** (1 / 3)
    wide = torch.maximum(std, mean.abs().clamp_min(1) * step)
    share = (std / wide).square()
    centre = function(mean)
    first, second = torch.zeros_like(mean), torch.zeros_like(mean)
    for node, weight in _nodes():
        if node:
            moved = function(torch.add(mean, wide, alpha=node)) - centre
            first = torch.add(first, moved, alpha=weight)
            second = torch.addcmul(second, moved, moved, value=weight)
    return centre + first * share, ((second - first.square()) * share).clamp_min(0)
