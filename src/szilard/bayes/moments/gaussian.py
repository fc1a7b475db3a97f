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

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
NODES = 21  # of the quadrature
SPACING = 0.6  # of its nodes, standard deviations
_FAR = 20.0  # beyond so many deviations nothing changes in double precision
#: The same in single precision: beyond, a ReLU has exactly no variance, and a mean of exactly zero if it is negative.
#: Φ(-7) = 1e-12 of a variance changes no number that it is added to. At 13 deviations Φ is a denormal number, and the
#: square of the mean is one at 9; such numbers take some processors over a hundred cycles an operation. Up to 7
#: deviations that square is a normal number: (δ(-7) · 0.01)² = 3e-30.
_FAR_SINGLE = 7.0
_STEEP = 2.0**20  # slope beyond, which leads to where Φ and φ are exactly zero


def cdf(z: Tensor) -> Tensor:
    """Φ(z)."""
    return 0.5 * torch.erfc(z * -math.sqrt(0.5))


def pdf(z: Tensor) -> Tensor:
    """φ(z)."""
    return torch.exp(-0.5 * z * z) * (1 / math.sqrt(2 * math.pi))


def _shares(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Φ(z), Φ(-z), δ(-|z|) and the product δ(z) δ(-z), of which the error function is computed once."""
    distance = z.abs()
    # A choice (torch.where) is slower in runtimes than these three operations, which are beyond float16.
    if z.dtype in (torch.float32, torch.bfloat16):
        distance = torch.maximum(distance, distance * _STEEP - _FAR_SINGLE * _STEEP)
    rest = cdf(-distance)
    excess = (pdf(distance) - distance * rest).clamp_min(0)
    negative, most = z < 0, 1 - rest
    above, below = torch.where(negative, rest, most), torch.where(negative, most, rest)
    return above, below, excess, (distance + excess) * excess


def _divisor(std: Tensor) -> Tensor:
    """A standard deviation to divide by: zero becomes the smallest number."""
    return std.clamp_min(torch.finfo(std.dtype).tiny)


def relu(mean: Tensor, variance: Tensor) -> Pair:
    """Moments of max(x, 0): the case of :func:`maximum` where the second variable is zero."""
    std = variance.sqrt()
    above, _, excess, product = _shares((mean / _divisor(std)).clamp(-_FAR, _FAR))
    return torch.addcmul(mean.clamp_min(0), std, excess), variance * (above - product).clamp_min_(0)


def leaky_relu(mean: Tensor, variance: Tensor, slope: float | Tensor) -> Pair:
    """Moments of max(x, 0) + slope · min(x, 0), exact: Cov(x, max(x, 0)) = v Φ(μ / √v)."""
    std = variance.sqrt()
    above, _, excess, product = _shares((mean / _divisor(std)).clamp(-_FAR, _FAR))
    rest = 1 - slope
    spread = slope**2 + rest**2 * (above - product).clamp_min(0) + 2 * slope * rest * above
    return slope * mean + rest * (mean.clamp_min(0) + std * excess), variance * spread.clamp_min(0)


def maximum(first: Pair, second: Pair) -> Pair:
    """Moments of the maximum of two independent Gaussians (Clark 1961).

    Clark's second moment minus his squared mean is v₁ Φ(a) + v₂ Φ(-a) - θ² δ(a) δ(-a) with θ² = v₁ + v₂ and
    a = (μ₁ - μ₂) / θ, which does not contain the means.
    """
    (m1, v1), (m2, v2) = first, second
    squared = v1 + v2
    theta = squared.sqrt()
    above, below, excess, product = _shares(((m1 - m2) / _divisor(theta)).clamp(-_FAR, _FAR))
    variance = (v1 * above).addcmul_(v2, below).addcmul_(squared, product, value=-1).clamp_min_(0)
    return torch.addcmul(torch.maximum(m1, m2), theta, excess), variance


def clip(mean: Tensor, variance: Tensor, low: float, high: float) -> Pair:
    """Moments of min(max(x, low), high), relative to the clipped mean so that large bounds do not cancel."""
    if high == math.inf:
        if low == -math.inf:
            return mean, variance
        rectified, spread = relu(mean - low, variance)
        return low + rectified, spread
    if low == -math.inf:
        rectified, spread = relu(high - mean, variance)
        return high - rectified, spread
    std = _divisor(variance.sqrt())
    origin = mean.clamp(low, high)
    a, b = (((bound - mean) / std).clamp(-_FAR, _FAR) for bound in (low, high))
    inside = cdf(b) - cdf(a)
    shift = mean - origin
    down, up = low - origin, high - origin
    first = down * cdf(a) + up * cdf(-b) + shift * inside + std * (pdf(a) - pdf(b))
    second = (
        down.square() * cdf(a)
        + up.square() * cdf(-b)
        + (shift.square() + variance) * inside
        + std * ((shift + down) * pdf(a) - (shift + up) * pdf(b))
    )
    return origin + first, (second - first.square()).clamp_min(0)


def log_normal(mean: Tensor, variance: Tensor) -> Pair:
    """Moments of e^x: E = e^(μ + v/2), and the variance E² (e^v - 1)."""
    first = (mean + 0.5 * variance).exp()
    return first, first.square() * variance.expm1()


@functools.cache
def _nodes() -> tuple[tuple[float, float], ...]:
    """Equidistant nodes: for tanh of a unit variance the error is 1e-7, and 3e-5 with as many Gauss-Hermite nodes."""
    nodes = [SPACING * (k - NODES // 2) for k in range(NODES)]
    weights = [math.exp(-0.5 * node * node) for node in nodes]
    return tuple((node, weight / sum(weights)) for node, weight in zip(nodes, weights, strict=True))


def quadrature(function: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor) -> Pair:
    """Moments of a smooth function of each variable by the trapezoidal rule with :data:`NODES` nodes.

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
