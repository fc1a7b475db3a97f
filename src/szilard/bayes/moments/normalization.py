"""Rules for normalisation.

Batch normalisation in eval mode is a constant scale and shift, which is exact. The other kinds divide by the mean
square deviation of the input itself. Means are computed with its expectation, and variances to first order in all
inputs of the group.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.bayes.moments import positions
from szilard.bayes.moments.arithmetic import plus, times
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, both
from szilard.errors import SzilardError


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else times(x, weight)
    return x if bias is None else plus(x, bias)


def _shaped(value: Tensor | None, axes: int) -> Tensor | None:
    return None if value is None else value.reshape(-1, *[1] * axes)


@rule("batch_norm", places=(F,))
def batch_norm(
    input: GaussianTensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    mean, variance = both(input)
    axes = mean.dim() - 2
    if training or running_mean is None or running_var is None:
        raise SzilardError(
            "batch normalisation with the statistics of the batch has no rule for Gaussians; put the network in eval "
            "mode, with running statistics"
        )
    scale = torch.rsqrt(running_var + eps)
    points = not any(isinstance(value, GaussianTensor) for value in (weight, bias))
    if points and weight is not None:  # one scale and one shift
        scale, weight = scale * weight, None
    shift = -running_mean * scale
    if points and bias is not None:
        shift, bias = shift + bias, None
    shared = input.shared if isinstance(input, GaussianTensor) else None
    shared = None if shared is None else positions.scaled(shared, scale)
    scale, shift = scale.reshape(-1, *[1] * axes), shift.reshape(-1, *[1] * axes)
    normed = GaussianTensor(torch.addcmul(shift, mean, scale), variance * scale.square()).sharing(shared)
    return _affine(normed, _shaped(weight, axes), _shaped(bias, axes))


def _standardised(x: Tensor, axes: Sequence[int], eps: float, centred: bool = True) -> GaussianTensor:
    """(x - centre) / size over some axes.

    With y the result and n the size of the group, ∂y_i/∂x_j = (δ_ij - (1 + y_i y_j) / n) / size, without the 1 if there
    is no centre.
    """
    deviation, variance = both(x)  # not Gaussian where only the weight or the bias is
    axes = list(axes)
    share = 1 / math.prod(variance.shape[axis] for axis in axes)

    def mean(value: Tensor) -> Tensor:
        return value.mean(axes, keepdim=True)

    one = 1 if centred else 0
    spread = mean(variance)
    if centred:
        deviation = deviation - mean(deviation)
    scale = torch.rsqrt(mean(deviation.square()) + spread * (1 - share * one) + eps)
    y = deviation * scale
    squared, weighted = y.square(), y * variance
    total = squared * mean(y * weighted)
    if centred:
        total = total + spread + 2 * y * mean(weighted)
    own = variance * (1 - 2 * share * (one + squared))
    return GaussianTensor(y, (own + share * total).clamp_min(0) * scale.square())


@rule("layer_norm")
def layer_norm(
    input: GaussianTensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    return _affine(_standardised(input, range(-len(normalized_shape), 0), eps), weight, bias)


@rule("rms_norm")
def rms_norm(
    input: GaussianTensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(_standardised(input, range(-len(normalized_shape), 0), eps, centred=False), weight, None)


@rule("group_norm")
def group_norm(
    input: GaussianTensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    mean, variance = both(input)
    grouped = [t.unflatten(1, (num_groups, t.shape[1] // num_groups)) for t in (mean, variance)]
    axes = range(2, grouped[0].dim())
    normed = _standardised(GaussianTensor(*grouped), axes, eps).moments
    flat = GaussianTensor(*(t.flatten(1, 2) for t in normed))
    return _affine(flat, _shaped(weight, mean.dim() - 2), _shaped(bias, mean.dim() - 2))


@rule("instance_norm", places=(F,))
def instance_norm(
    input: GaussianTensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *_: object,
) -> Tensor:
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return group_norm(input, input.shape[1], weight, bias, eps)
