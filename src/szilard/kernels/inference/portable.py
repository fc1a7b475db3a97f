"""The steps of a program in torch, for any floating type: mean and variance, or numbers alone (variance None).

Moments of ReLU: Frey and Hinton (1999), Variational learning in nonlinear Gaussian belief networks. Maximum of two
Gaussians: Clark (1961), The greatest of a finite set of random variables.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.kernels.inference import shared_errors
from szilard.kernels.inference.steps import Activation, Kind, Number, Step

NODES, SPACING = 10, 0.6
"""Nodes of the quadrature on each side of the mean, and their distance in standard deviations."""
FAR = 40.0
"""Standard deviations from which on a tail is zero."""
LOSES = -1e30
"""Mean of the padding of a max-pool."""


def run(steps: Sequence[Step], moments: bool, x: Tensor, outputs: Sequence[int]) -> list[Number]:
    """Values of ``outputs`` for ``x [batch, channels, height, width]``; in a program of moments with variances."""
    values: list[Number] = [(x, None)]
    for step in steps:
        given = [values[k] for k in step.inputs]
        mean, variance = _step(step, given, moments)
        shape = (x.shape[0], *step.shape)
        values.append((mean.reshape(shape), None if variance is None else variance.reshape(shape)))
    found = [values[k] for k in outputs]
    if not moments:
        return found
    return [(mean, torch.zeros_like(mean) if variance is None else variance) for mean, variance in found]


def relu(x: Number) -> Number:
    """ReLU of N(mean, variance)."""
    mean, variance = x
    if variance is None:
        return mean.relu(), None
    z, root = _standard(mean, variance)
    distance = z.abs()
    delta = _delta(distance)
    share = torch.special.ndtr(z) - (distance + delta) * delta
    return mean.relu() + root * delta, (variance * share).clamp_min(0)


def larger(x: Number, y: Number) -> Number:
    """Maximum of two independent Gaussians."""
    if x[1] is None or y[1] is None:
        return torch.maximum(x[0], y[0]), None
    both = x[1] + y[1]
    z, root = _standard(x[0] - y[0], both)
    distance = z.abs()
    delta = _delta(distance)
    spread = x[1] * torch.special.ndtr(z) + y[1] * torch.special.ndtr(-z)
    return torch.maximum(x[0], y[0]) + root * delta, (spread - both * (distance + delta) * delta).clamp_min(0)


def tree(values: list[Number]) -> Number:
    """Maximum of several: of neighbours in pairs, then of pairs of pairs."""
    while len(values) > 1:
        pairs = [larger(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def _standard(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    root = variance.sqrt()
    sign = torch.where(mean == 0, 0.0, torch.sign(mean) * FAR)
    z = torch.where(root > 0, mean / root.clamp_min(torch.finfo(root.dtype).tiny), sign)
    return z.clamp(-FAR, FAR), root


def _delta(distance: Tensor) -> Tensor:
    density = torch.exp(-0.5 * distance * distance) / math.sqrt(2 * math.pi)
    return (density - distance * torch.special.ndtr(-distance)).clamp_min(0)


def _step(step: Step, given: list[Number], moments: bool) -> Number:
    joint: dict[Kind, Callable[[], Number]] = {
        Kind.LINEAR: lambda: _ended(step, _product(step, given[0], moments)),
        Kind.CONV: lambda: _ended(step, _product(step, given[0], moments)),
        Kind.AFFINE: lambda: _ended(step, _affine(step, given[0])),
        Kind.ADD: lambda: _ended(step, _sum(given)),
        Kind.MAX_POOL: lambda: _ended(step, _max_pool(step, given[0])),
        Kind.CONCAT: lambda: _concat(given),
        Kind.ACTIVATION: lambda: _activation(step, given[0]),
        Kind.SPREADS: lambda: shared_errors.spreads(given[0]),
        Kind.GAINS: lambda: shared_errors.gains(given[0], given[1]),
        Kind.SCALE_ROWS: lambda: shared_errors.scale_rows(given[0], given[1]),
        Kind.CONTRIBUTIONS: lambda: shared_errors.contributions(given),
    }
    if step.kind in joint:
        return joint[step.kind]()
    # The same for mean (power 1) and variance (power 2).
    each: dict[Kind, Callable[[Tensor, int], Tensor]] = {
        Kind.AVERAGE_POOL: functools.partial(_average_pool, step),
        Kind.GLOBAL_AVERAGE: lambda x, power: x.mean((2, 3)) / (x.shape[2] * x.shape[3]) ** (power - 1),
        Kind.CHANNELS: lambda x, power: _channels(step, x),
        Kind.RESHAPE: lambda x, power: x,
    }
    mean, variance = given[0]
    return each[step.kind](mean, 1), None if variance is None else each[step.kind](variance, 2)


def _ended(step: Step, x: Number) -> Number:
    return relu(x) if step.relu else x


def _product(step: Step, x: Number, moments: bool) -> Number:
    weight = step.weight
    assert weight is not None
    mean, variance = x

    def product(values: Tensor, by: Tensor) -> Tensor:
        if step.kind == Kind.LINEAR:
            return F.linear(values.flatten(1), by)
        (top, bottom), (left, right) = step.padding
        values = F.pad(values, (left, right, top, bottom))
        by = by.reshape(by.shape[0], -1, *step.kernel)
        return F.conv2d(values, by, None, step.stride, 0, step.dilation, step.groups)

    w = weight.dense(weight.mean.to(mean))
    y = product(mean, w)
    by_channel = (1, -1) if step.kind == Kind.LINEAR else (1, -1, 1, 1)
    if step.bias is not None:
        y = y + step.bias.to(y).reshape(by_channel)
    if not moments:
        return y, None
    terms = [] if variance is None else [product(variance, w * w)]
    if weight.variance is not None:
        second = mean * mean if variance is None else variance + mean * mean
        terms.append(product(second, weight.dense(weight.variance.to(mean))))
    if step.bias_variance is not None:
        terms.append(step.bias_variance.to(y).reshape(by_channel).expand_as(y))
    return y, sum(terms[1:], terms[0]) if terms else None


def _affine(step: Step, x: Number) -> Number:
    assert step.weight is not None
    mean, variance = x
    scale = step.weight.mean.to(mean).reshape(1, -1, 1, 1)
    y = mean * scale
    if step.bias is not None:
        y = y + step.bias.to(mean).reshape(1, -1, 1, 1)
    return y, None if variance is None else variance * scale * scale


def _sum(given: list[Number]) -> Number:
    (a, v), (b, w) = given
    return a + b, w if v is None else v if w is None else v + w


def _concat(given: list[Number]) -> Number:
    mean = torch.cat([m for m, _ in given], 1)
    if all(v is None for _, v in given):
        return mean, None
    return mean, torch.cat([torch.zeros_like(m) if v is None else v for m, v in given], 1)


def _windows(step: Step, x: Tensor, fill: float) -> list[list[Tensor]]:
    """By row and column of the window, its number at every output."""
    (top, bottom), (left, right) = step.padding
    x = F.pad(x, (left, right, top, bottom), value=fill)
    _, height, width = step.shape
    (h, w), (sh, sw) = step.kernel, step.stride
    return [
        [x[..., i : i + (height - 1) * sh + 1 : sh, j : j + (width - 1) * sw + 1 : sw] for j in range(w)]
        for i in range(h)
    ]


def _max_pool(step: Step, x: Number) -> Number:
    mean, variance = x
    means = _windows(step, mean, LOSES)
    if variance is None:
        return tree([tree([(m, None) for m in row]) for row in means])
    variances = _windows(step, variance, 0.0)
    rows = [tree(list(zip(m, v, strict=True))) for m, v in zip(means, variances, strict=True)]
    return tree(rows)


def _average_pool(step: Step, x: Tensor, power: int) -> Tensor:
    total = torch.stack([t for row in _windows(step, x, 0.0) for t in row]).sum(0)
    if step.count_padding:
        return total / float(step.kernel[0] * step.kernel[1]) ** power
    counted = torch.stack([t for row in _windows(step, torch.ones_like(x[:1, :1]), 0.0) for t in row]).sum(0)
    return total / counted**power


def _channels(step: Step, x: Tensor) -> Tensor:
    channels, height, width = step.shape
    y = x.new_zeros(x.shape[0], channels, height, width)
    first, last = max(step.offset, 0), min(step.offset + x.shape[1], channels)
    if first < last:
        taken = x[:, first - step.offset : last - step.offset, :: step.stride[0], :: step.stride[1]]
        y[:, first:last] = taken[:, :, :height, :width]
    return y


def _activation(step: Step, x: Number) -> Number:
    mean, variance = x
    if step.activation == Activation.RELU:
        return relu(x)
    if step.activation == Activation.LEAKY_RELU:
        s = step.slope
        if variance is None:
            return F.leaky_relu(mean, s), None
        rectified, spread = relu(x)
        assert spread is not None
        upper = torch.special.ndtr(_standard(mean, variance)[0])
        total = s * s * variance + (1 - s) ** 2 * spread + 2 * s * (1 - s) * variance * upper
        return s * mean + (1 - s) * rectified, total.clamp_min(0)
    functions: dict[Activation, Callable[[Tensor], Tensor]] = {
        Activation.GELU: _gelu,
        Activation.SIGMOID: torch.sigmoid,
        Activation.TANH: torch.tanh,
        Activation.SILU: F.silu,
    }
    function = functions[step.activation]
    return (function(mean), None) if variance is None else _by_quadrature(function, mean, variance)


def _gelu(x: Tensor) -> Tensor:
    return x * torch.special.ndtr(x)


def _by_quadrature(function: Callable[[Tensor], Tensor], mean: Tensor, variance: Tensor) -> Number:
    at = SPACING * torch.arange(-NODES, NODES + 1, dtype=mean.dtype).reshape(-1, *[1] * mean.dim())
    share = torch.exp(-0.5 * at * at)
    share = share / share.sum()
    values = function(mean + at * variance.sqrt())
    middle = (share * values).sum(0)
    return middle, (share * (values - middle) ** 2).sum(0)
