"""Rules for linear maps, convolutions and matrix products.

With independent weights (mean m, variance s) and inputs (mean μ, variance v), the output Σ w x has the mean Σ m μ and
the variance Σ [v (m² + s) + μ² s]. Every term is positive; the difference of second moments, as published for the
probabilistic forward pass, is noise in float32 for small variances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.sharing import Weight, Window, alone, weighted
from szilard.bayes.moments.value import joined, same_shape, split

Bilinear = Callable[[Tensor, Tensor], Tensor]


def bilinear(product: Bilinear, x: Tensor, weight: Tensor) -> Tensor:
    """Moments of a product that is linear in both arguments, each Gaussian or not; independent of each other."""
    (mean, variance), (centre, spread) = alone(x), split(weight)
    found = product(mean, centre)
    if variance is None and spread is None:
        return found
    if spread is None:
        assert variance is not None
        return joined(found, product(variance, centre.square()))
    if variance is None:
        return joined(found, product(mean.square(), spread))
    return joined(found, product(variance, centre.square() + spread) + product(mean.square(), spread))


def _parts(weight: Tensor) -> Weight:
    mean, variance = split(weight)
    return lambda: mean, None if variance is None else lambda: variance


def shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    """``x`` plus a bias, each Gaussian or not."""
    if bias is None:
        return x
    (mean, variance), (shift, spread) = split(x), split(bias)
    total = mean + shift
    parts = [part for part in (variance, spread) if part is not None]
    if not parts:
        return total
    joint = parts[0] + parts[1] if len(parts) == 2 else parts[0]
    return joined(total, joint if same_shape(joint, total) else joint.expand(total.shape))


@rule("linear")
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found = shifted(bilinear(F.linear, input, weight), bias)
    if input.dim() != 2:
        return found
    return weighted(found, input, _parts(weight), None, None if bias is None else split(bias)[1])


def _convolution(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        def product(x: Tensor, w: Tensor) -> Tensor:
            return function(x, w, None, stride, padding, dilation, groups)

        axes = weight.dim() - 2
        found = shifted(bilinear(product, input, weight), _by_channel(bias, axes))
        noise = None if bias is None else split(bias)[1]
        if input.dim() != axes + 2:
            return found
        window = Window(weight.shape[2:], stride, padding, dilation, groups)
        return weighted(found, input, _parts(weight), window, noise)

    return run


def _transposed(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Tensor:
        def product(x: Tensor, w: Tensor) -> Tensor:
            return function(x, w, None, stride, padding, output_padding, groups, dilation)

        axes = weight.dim() - 2
        return shifted(bilinear(product, input, weight), _by_channel(bias, axes))

    return run


def _by_channel(bias: Tensor | None, axes: int) -> Tensor | None:
    if bias is None:
        return None
    mean, variance = split(bias)
    shape = (-1, *[1] * axes)
    return joined(mean.view(shape), None if variance is None else variance.view(shape))


for _name in ("conv1d", "conv2d", "conv3d"):
    rule(_name)(_convolution(getattr(F, _name)))
for _name in ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
    rule(_name)(_transposed(getattr(F, _name)))


@rule("matmul", "__matmul__", "mm", "bmm", "mv", "dot")
def matmul(input: Tensor, other: Tensor) -> Tensor:
    return bilinear(lambda a, b: a @ b, input, other)


@rule("__rmatmul__")
def rmatmul(input: Tensor, other: Tensor) -> Tensor:
    return matmul(other, input)


@rule("addmm", "baddbmm", "addmv")
def addmm(input: Tensor, first: Tensor, second: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta · input + alpha · first @ second."""
    product = matmul(first, second)
    return shifted(product if alpha == 1 else product * alpha, input if beta == 1 else input * beta)
