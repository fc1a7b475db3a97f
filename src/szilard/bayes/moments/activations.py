"""Rules for activation functions of one variable.

Piecewise linear ones are exact for Gaussian inputs; smooth ones use quadrature.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.bayes.moments import gaussian
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, Moments


def put(x: GaussianTensor, answer: GaussianTensor, inplace: bool) -> GaussianTensor:
    """The answer of an activation; with ``inplace`` it is also written into its input, as torch does."""
    if not inplace:
        return answer
    x.moments = answer.moments
    x.before_relu = answer.before_relu
    return x


def elementwise(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule by quadrature for a smooth function of one variable, with the function's other arguments."""

    @functools.wraps(function)
    def run(input: GaussianTensor, *arguments: Any, inplace: bool = False, **named: Any) -> Tensor:
        def values(x: Tensor) -> Tensor:
            return function(x, *arguments, **named)

        return put(input, GaussianTensor(*gaussian.quadrature(values, *input.moments)), inplace)

    return run


@rule("relu")
def relu(input: GaussianTensor, inplace: bool = False) -> Tensor:
    return put(input, GaussianTensor.rectified(_copy(input) if inplace else input), inplace)


@rule("relu_")
def relu_(input: GaussianTensor) -> Tensor:
    return relu(input, inplace=True)


@rule("leaky_relu")
def leaky_relu(input: GaussianTensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    return put(input, GaussianTensor(*gaussian.leaky_relu(*input.moments, negative_slope)), inplace)


@rule("leaky_relu_")
def leaky_relu_(input: GaussianTensor, negative_slope: float = 0.01) -> Tensor:
    return leaky_relu(input, negative_slope, inplace=True)


@rule("hardtanh")
def hardtanh(
    input: GaussianTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    return put(input, GaussianTensor(*gaussian.clip(*input.moments, min_val, max_val)), inplace)


@rule("relu6")
def relu6(input: GaussianTensor, inplace: bool = False) -> Tensor:
    return hardtanh(input, 0.0, 6.0, inplace)


@rule("clamp", "clip")
def clamp(input: GaussianTensor, min: float | None = None, max: float | None = None) -> Tensor:
    low = float("-inf") if min is None else float(min)
    high = float("inf") if max is None else float(max)
    if low == 0 and max is None:
        return relu(input)
    return hardtanh(input, low, high)


@rule("clamp_min")
def clamp_min(input: GaussianTensor, min: float) -> Tensor:
    return clamp(input, min)


@rule("clamp_max")
def clamp_max(input: GaussianTensor, max: float) -> Tensor:
    return clamp(input, None, max)


@rule("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
def dropout(input: GaussianTensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """In eval mode the input; in training mode a random factor of mean 1 and variance p / (1 - p)."""
    if not training or p == 0:
        return input
    mean, variance = input.moments
    spread = p / (1 - p)
    return put(input, GaussianTensor(mean, variance * (1 + spread) + mean.square() * spread), inplace)


for _name in (
    "sigmoid", "tanh", "silu", "elu", "selu", "celu", "softplus", "softsign", "mish", "logsigmoid", "gelu", "hardswish",
    "hardsigmoid", "sin", "cos", "erf",
):  # fmt: skip
    rule(_name)(elementwise(getattr(F, _name, None) or getattr(torch, _name)))


@rule("abs", "__abs__")
def absolute(input: GaussianTensor) -> Tensor:
    """|x| = max(x, 0) - min(x, 0)."""
    return GaussianTensor(*gaussian.leaky_relu(*input.moments, -1.0))


@rule("exp")
def exp(input: GaussianTensor) -> Tensor:
    """Log-normal moments: E = e^(μ + v/2), variance E² (e^v - 1)."""
    mean, variance = input.moments
    first = (mean + 0.5 * variance).exp()
    return GaussianTensor(first, first.square() * variance.expm1())


@rule("square")
def square(input: GaussianTensor) -> Tensor:
    """E[x²] = μ² + v, Var = 2 v² + 4 μ² v."""
    mean, variance = input.moments
    return GaussianTensor(mean.square() + variance, 2 * variance.square() + 4 * mean.square() * variance)


def _copy(x: GaussianTensor) -> GaussianTensor:
    copied = GaussianTensor(*Moments(*x.moments))
    copied.before_relu = x.before_relu
    return copied
