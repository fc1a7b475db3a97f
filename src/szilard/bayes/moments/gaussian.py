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
_TINY = 1e-30  # a standard deviation of zero is replaced by this
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


def relu(mean: Tensor, variance: Tensor) -> Pair:
    """Moments of max(x, 0): the case of :func:`maximum` where the second variable is zero."""
    std = variance.sqrt().clamp_min(_TINY)
    z = (mean / std).clamp(-_FAR, _FAR)
    distance = z.abs()
    excess = _excess(distance)
    share = (cdf(z) - (distance + excess) * excess).clamp_min(0)
    return mean.clamp_min(0) + std * excess, variance * share


def leaky_relu(mean: Tensor, variance: Tensor, slope: float) -> Pair:
    """Moments of max(x, 0) + slope · min(x, 0), exact: Cov(x, max(x, 0)) = v Φ(μ / √v)."""
    rectified, spread = relu(mean, variance)
    std = variance.sqrt().clamp_min(_TINY)
    covariance = variance * cdf((mean / std).clamp(-_FAR, _FAR))
    rest = 1 - slope
    return (
        slope * mean + rest * rectified,
        (slope**2 * variance + rest**2 * spread + 2 * slope * rest * covariance).clamp_min(0),
    )


def maximum(first: Pair, second: Pair) -> Pair:
    """Moments of the maximum of two independent Gaussians (Clark 1961).

    Clark's second moment minus his squared mean is v₁ Φ(a) + v₂ Φ(-a) - θ² δ(a) δ(-a) with θ² = v₁ + v₂ and
    a = (μ₁ - μ₂) / θ, which does not contain the means.
    """
    (m1, v1), (m2, v2) = first, second
    squared = v1 + v2
    theta = squared.sqrt().clamp_min(_TINY)
    a = ((m1 - m2) / theta).clamp(-_FAR, _FAR)
    distance = a.abs()
    excess = _excess(distance)
    below = cdf(a)
    variance = v1 * below + v2 * cdf(-a) - squared * (distance + excess) * excess
    return torch.maximum(m1, m2) + theta * excess, variance.clamp_min(0)


def clip(mean: Tensor, variance: Tensor, low: float, high: float) -> Pair:
    """Moments of min(max(x, low), high), relative to the clipped mean so that large bounds do not cancel."""
    std = variance.sqrt().clamp_min(_TINY)
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


def _times(value: Tensor, weight: Tensor) -> Tensor:
    """A product in which a bound at infinity with weight zero counts as zero."""
    return torch.where(weight > 0, value, 0) * weight


@functools.cache
def _nodes() -> tuple[tuple[float, float], ...]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return tuple((float(x), float(w)) for x, w in zip(nodes, weights / weights.sum(), strict=True))


def quadrature(function: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor) -> Pair:
    """Moments of a smooth function of each variable by Gauss-Hermite quadrature with :data:`NODES` nodes.

    Args:
        function: elementwise.
    """
    std = variance.sqrt()
    values = [(function(mean + std * node), weight) for node, weight in _nodes()]
    first = sum((value * weight for value, weight in values), torch.zeros_like(mean))
    spread = sum((weight * (value - first).square() for value, weight in values), torch.zeros_like(mean))
    return first, spread
