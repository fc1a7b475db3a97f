"""Rules for arithmetic. Two different Gaussian tensors count as independent, also where a shortcut joins its branch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.moments import sharing
from szilard.bayes.moments.linear import shifted
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, joined, split
from szilard.errors import SzilardError

Number = float | int | Tensor


def _scaled(x: Tensor, factor: Number) -> Tensor:
    if isinstance(x, GaussianTensor) and x.is_average:
        kept = sharing.scaled_average(x, factor)
        if kept is not None:
            return kept
    mean, variance = split(x)
    scaled = mean * factor
    found = joined(scaled, None if variance is None else (variance * (factor * factor)).expand(scaled.shape))
    return sharing.scaled(found, x, factor)


def plus(first: Number, second: Number, sign: float = 1.0) -> Tensor:
    """first + sign · second; one of them is Gaussian."""
    if first is second:  # one variable twice, which is not independent of itself
        assert isinstance(first, Tensor)
        return _scaled(first, 1 + sign)
    kept = [_moved(first, second), _moved(second, first)] if sign == 1 else []
    moved = next((one for one in kept if one is not None), None)
    if moved is not None:
        return moved
    (mean, variance), (other, spread) = _parts(first), _parts(second)
    if sign != 1:
        other, spread = other * sign, None if spread is None else spread * (sign * sign)
    total = mean + other
    parts = [part for part in (variance, spread) if part is not None]
    joint = parts[0] + parts[1] if len(parts) == 2 else parts[0]
    found = GaussianTensor(total, joint if joint.shape == total.shape else joint.expand(total.shape))
    return sharing.summed(found, ((first, 1.0), (second, sign)))


def _moved(x: Number, constant: Number) -> GaussianTensor | None:
    """An average plus a constant, which stays one: its variance is computed once, at the end. None if it is not."""
    if not isinstance(x, GaussianTensor) or not x.is_average or isinstance(constant, GaussianTensor):
        return None
    if isinstance(constant, Tensor) and torch.broadcast_shapes(constant.shape, x.shape) != x.shape:
        return None
    return x.moved_by(constant)


def _parts(value: Number) -> tuple[Any, Tensor | None]:
    return value.moments if isinstance(value, GaussianTensor) else (value, None)


def times(first: Number, second: Number) -> Tensor:
    """The product; of two independent Gaussians the variance is v₁ v₂ + μ₁² v₂ + μ₂² v₁.

    Of a Gaussian and itself, E[x²] = μ² + v, and the variance is 2 v² + 4 μ² v.
    """
    if isinstance(first, GaussianTensor) and isinstance(second, GaussianTensor):
        (m1, v1), (m2, v2) = first.moments, second.moments
        if first is second:
            return GaussianTensor(m1.square() + v1, 2 * v1.square() + 4 * m1.square() * v1)
        found = GaussianTensor(m1 * m2, v1 * (v2 + m2.square()) + m1.square() * v2)
        return sharing.multiplied(sharing.multiplied(found, first, second), second, first)
    if isinstance(first, GaussianTensor):
        return _scaled(first, second)
    if isinstance(second, GaussianTensor):
        return _scaled(second, first)
    assert isinstance(first, Tensor)
    return first * second


@rule("add", "__add__", "__radd__")
def add(input: Number, other: Number, *, alpha: float = 1) -> Tensor:
    return plus(input, other, alpha)


@rule("sub", "subtract", "__sub__")
def sub(input: Number, other: Number, *, alpha: float = 1) -> Tensor:
    return plus(input, other, -alpha)


@rule("__rsub__", "rsub")
def rsub(input: Number, other: Number, *, alpha: float = 1) -> Tensor:
    """other - alpha · input."""
    return plus(other, input, -alpha)


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
    found = sharing.scaled(GaussianTensor(-mean, variance), input, -1.0)
    return found


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
                "an operation in place would write a Gaussian into an ordinary tensor; write y = y + x instead of "
                "y += x"
            )
        input.write(function(input, *arguments, **named))
        return input

    return run


for _names, _function in (
    (("add_", "__iadd__"), add), (("sub_", "__isub__"), sub), (("mul_", "__imul__"), mul),
    (("div_", "__itruediv__"), div),
):  # fmt: skip
    rule(*_names)(_in_place(_function))


def axes_of(dim: Any, count: int) -> tuple[int, ...]:
    """The axes that an argument ``dim`` of a reduction names, of a tensor with ``count`` axes."""
    if dim is None or dim in ([], ()):
        return tuple(range(count))
    return tuple(d % count for d in ([dim] if isinstance(dim, int) else dim))


@rule("sum")
def total(
    input: GaussianTensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    mean, variance = input.moments
    axes = axes_of(dim, mean.dim())
    if mean.dim() > 2 and sorted(axes) == list(range(2, mean.dim())):  # of maps: positions share errors
        return times(average(input, axes, keepdim, dtype=dtype), math.prod(mean.shape[2:]))
    return GaussianTensor(
        mean.sum(axes, keepdim=keepdim, dtype=dtype), variance.sum(axes, keepdim=keepdim, dtype=dtype)
    )


@rule("mean")
def average(
    input: GaussianTensor, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    mean, variance = input.moments
    axes = axes_of(dim, mean.dim())
    count = math.prod(mean.shape[axis] for axis in axes)
    found = GaussianTensor(
        mean.mean(axes, keepdim=keepdim, dtype=dtype),
        variance.mean(axes, keepdim=keepdim, dtype=dtype) * (1 / count),
    )
    return sharing.averaged(found, input, axes)


@rule("addcmul")
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    product = times(tensor1, tensor2)
    return shifted(product if value == 1 else times(product, value), input)
