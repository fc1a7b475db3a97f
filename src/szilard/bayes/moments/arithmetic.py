"""Rules for arithmetic. Two different Gaussian tensors count as independent, also where a shortcut joins its branch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.moments.linear import shifted
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, joined, split
from szilard.errors import SzilardError

Number = float | int | Tensor


def _scaled(x: Tensor, factor: Number) -> Tensor:
    mean, variance = split(x)
    return joined(
        mean * factor, None if variance is None else (variance * (factor * factor)).expand_as(mean * factor)
    )


def _tensor(value: Number, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=like.dtype, device=like.device)


def plus(first: Number, second: Number, sign: float = 1.0) -> Tensor:
    """first + sign · second."""
    if first is second:  # one variable twice, which is not independent of itself
        assert isinstance(first, Tensor)
        return _scaled(first, 1 + sign)
    if isinstance(first, GaussianTensor):
        if isinstance(second, Tensor):
            return _broadcast(first, second if sign == 1 else _scaled(second, sign))
        mean, variance = first.moments
        return GaussianTensor(mean + sign * second, variance)
    assert isinstance(second, GaussianTensor)
    other = second if sign == 1 else _scaled(second, sign)
    return _broadcast(other, _tensor(first, other.moments.mean))


def _broadcast(x: Tensor, y: Tensor) -> Tensor:
    (mean, variance), (other, spread) = split(x), split(y)
    total = mean + other
    parts = [part.expand(total.shape) for part in (variance, spread) if part is not None]
    return joined(total, parts[0] + parts[1] if len(parts) == 2 else parts[0])


def times(first: Number, second: Number) -> Tensor:
    """The product; of two independent Gaussians the variance is v₁ v₂ + μ₁² v₂ + μ₂² v₁."""
    if isinstance(first, GaussianTensor) and isinstance(second, GaussianTensor):
        (m1, v1), (m2, v2) = first.moments, second.moments
        if first is second:
            return GaussianTensor(m1.square() + v1, 2 * v1.square() + 4 * m1.square() * v1)
        return GaussianTensor(m1 * m2, v1 * v2 + m1.square() * v2 + m2.square() * v1)
    if isinstance(first, GaussianTensor):
        return _scaled(first, second)
    assert isinstance(second, GaussianTensor)
    return _scaled(second, first)


@rule("add", "__add__", "__radd__")
def add(input: Number, other: Number, *, alpha: float = 1) -> Tensor:
    return plus(input, other, alpha)


@rule("sub", "subtract", "__sub__")
def sub(input: Number, other: Number, *, alpha: float = 1) -> Tensor:
    return plus(input, other, -alpha)


@rule("__rsub__", "rsub")
def rsub(input: Number, other: Number) -> Tensor:
    return plus(other, input, -1)


@rule("mul", "multiply", "__mul__", "__rmul__")
def mul(input: Number, other: Number) -> Tensor:
    return times(input, other)


@rule("div", "divide", "true_divide", "__truediv__")
def div(input: Number, other: Number, *, rounding_mode: str | None = None) -> Tensor:
    if isinstance(other, GaussianTensor) or rounding_mode is not None:
        raise SzilardError(
            "division by a Gaussian has no mean, and rounded division no rule; divide by constants only"
        )
    return times(input, 1 / other)


@rule("neg", "negative", "__neg__")
def neg(input: GaussianTensor) -> Tensor:
    mean, variance = input.moments
    return GaussianTensor(-mean, variance)


@rule("positive", "__pos__")
def pos(input: GaussianTensor) -> Tensor:
    return input


@rule("pow", "__pow__")
def power(input: GaussianTensor, exponent: float) -> Tensor:
    if exponent == 1:
        return input
    if exponent == 2:
        return times(input, input)
    raise SzilardError(f"the power {exponent} of a Gaussian has no rule; only 1 and 2 have")


def _in_place(function: Any) -> Any:
    def run(input: Any, *arguments: Any, **named: Any) -> Any:
        if not isinstance(input, GaussianTensor):
            raise SzilardError(
                "an in-place operation would write a Gaussian into an ordinary tensor; write y = y + x instead of y += x"
            )
        answer = function(input, *arguments, **named)
        if answer.shape != input.shape:
            raise SzilardError("an in-place operation would change the shape of a Gaussian tensor")
        input.moments = answer.moments
        return input

    return run


for _names, _function in (
    (("add_", "__iadd__"), add), (("sub_", "__isub__"), sub), (("mul_", "__imul__"), mul),
    (("div_", "__itruediv__"), div),
):  # fmt: skip
    rule(*_names)(_in_place(_function))


def _axes(dim: Any, count: int) -> list[int]:
    if dim is None or dim == []:
        return list(range(count))
    return [d % count for d in ([dim] if isinstance(dim, int) else dim)]


@rule("sum")
def total(
    input: GaussianTensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    mean, variance = input.moments
    axes = _axes(dim, mean.dim())
    return GaussianTensor(
        mean.sum(axes, keepdim=keepdim, dtype=dtype), variance.sum(axes, keepdim=keepdim, dtype=dtype)
    )


@rule("mean")
def average(
    input: GaussianTensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    mean, variance = input.moments
    axes = _axes(dim, mean.dim())
    count = math.prod(mean.shape[axis] for axis in axes)
    return GaussianTensor(
        mean.mean(axes, keepdim=keepdim, dtype=dtype),
        variance.mean(axes, keepdim=keepdim, dtype=dtype) * (1 / count),
    )


@rule("addcmul")
def addcmul(input: Tensor, first: Tensor, second: Tensor, *, value: float = 1) -> Tensor:
    return shifted(times(times(first, second), value), input)
