"""Rules for arithmetic. Tensors count as independent, also where a shortcut joins its branch, except functions of one
variable each (:mod:`szilard.bayes.moments.dependence`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from szilard.bayes.moments import gaussian, sharing
from szilard.bayes.moments.dependence import Origin, common
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, Moments, joined, same_shape, split
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
    return sharing.scaled(_mapped(x, found, lambda values: values * factor, factor), x, factor)


def _mapped(x: Any, found: Tensor, function: Callable[[Tensor], Tensor], constant: Number) -> Tensor:
    """The result of an elementwise function of x with a constant."""
    if isinstance(x, GaussianTensor) and isinstance(found, GaussianTensor):
        free = not isinstance(constant, Tensor) or constant.dim() == 0
        found.from_origins(x.then(function, free=free, affine=True))
    return found


def _dependent(
    first: GaussianTensor,
    second: GaussianTensor,
    function: Callable[[Tensor, Tensor], Tensor],
    apart: Moments,
) -> GaussianTensor:
    """A function of two tensors, with the moments ``apart`` where their entries are different variables.

    Where both are functions of the same variable, its quadrature; x x and x ± x are exact.
    """
    found = common(first.origins, second.origins)
    if found is None:
        return GaussianTensor(*apart)
    one, other, same = found

    def values(x: Tensor) -> Tensor:
        return function(one.values(x), other.values(x))

    mean, variance = (part.expand(apart.mean.shape) for part in (one.mean, one.variance))
    if one.function is None and other.function is None:
        pair = _of_one(function, mean, variance)
    else:
        pair = gaussian.quadrature(values, mean, variance)
    if same is True:
        return GaussianTensor(*pair).from_origins(
            [Origin(one.mean, one.variance, values, one.free and other.free, False)]
        )
    assert isinstance(same, Tensor)
    return GaussianTensor(*(torch.where(same, a, b) for a, b in zip(pair, apart, strict=True)))


def _of_one(
    function: Callable[[Tensor, Tensor], Tensor], mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Moments of x x or of x ± x. Of the product, E[x²] = μ² + v, and the variance is 2 v² + 4 μ² v."""
    if function is torch.mul:
        return mean.square() + variance, 2 * variance.square() + 4 * mean.square() * variance
    factor = function(torch.ones(()), torch.ones(())).item()
    return mean * factor, variance * factor**2


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
    apart = Moments(total, joint if same_shape(joint, total) else joint.expand(total.shape))
    if isinstance(first, GaussianTensor) and isinstance(second, GaussianTensor):
        found = _dependent(first, second, lambda x, y: x + sign * y, apart)
    elif isinstance(first, GaussianTensor):
        found = GaussianTensor(*apart)
        _mapped(first, found, lambda x: x + sign * second, second)
    else:
        found = GaussianTensor(*apart)
        _mapped(second, found, lambda x: first + sign * x, first)
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
    """The product; of two independent Gaussians the variance is v₁ v₂ + μ₁² v₂ + μ₂² v₁."""
    if isinstance(first, GaussianTensor) and isinstance(second, GaussianTensor):
        (m1, v1), (m2, v2) = first.moments, second.moments
        apart = Moments(m1 * m2, v1 * (v2 + m2.square()) + m1.square() * v2)
        found = _dependent(first, second, torch.mul, apart)
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
    found = _mapped(input, GaussianTensor(-mean, variance), torch.neg, -1.0)
    return sharing.scaled(found, input, -1.0)


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
    return plus(input, product if value == 1 else times(product, value))
