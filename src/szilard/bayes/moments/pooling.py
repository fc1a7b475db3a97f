"""Rules for pooling.

The maximum of a window is folded pairwise by Clark's formula, columns first, then rows. Max-pooling of a ReLU is the
ReLU of the max-pooling, and Clark's formula is for Gaussians, which a ReLU's outputs are not: the order is swapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from szilard.bayes.moments import gaussian, sharing
from szilard.bayes.moments.arithmetic import axes_of
from szilard.bayes.moments.gaussian import Pair
from szilard.bayes.moments.rules import rule
from szilard.bayes.moments.value import GaussianTensor, both
from szilard.errors import SzilardError


def _sizes(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(n) for n in value]


def max_pool(
    x: GaussianTensor, axes: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> GaussianTensor:
    """Maximum over windows of the last ``axes`` axes; places of the padding have mean -∞."""
    if x.before_relu is not None:
        before = GaussianTensor(*x.before_relu).sharing(x.before_shared)
        pooled = max_pool(before, axes, kernel, stride, padding, dilation, ceil)
        return GaussianTensor.rectified(*pooled.moments, pooled.shared)
    kernel, padding, dilation = (_sizes(value, axes) for value in (kernel, padding, dilation))
    stride = _sizes(stride, axes) if stride not in (None, [], ()) else kernel
    if ceil:
        raise SzilardError("max-pooling with ceil_mode has no rule; pad the input instead")
    mean, variance = x.moments
    for axis in reversed(range(-axes, 0)):
        mean, variance = _fold(
            mean, variance, axis, kernel[axis], stride[axis], padding[axis], dilation[axis]
        )
    found = GaussianTensor(mean, variance)
    return sharing.monotone(found, x) if x.dim() == axes + 2 else found


def _fold(
    mean: Tensor, variance: Tensor, axis: int, kernel: int, stride: int, padding: int, dilation: int
) -> Pair:
    """Maximum over windows along one axis."""
    if padding:
        amounts = [0, 0] * (-axis - 1) + [padding, padding]
        low = torch.finfo(mean.dtype).min / 4
        mean, variance = F.pad(mean, amounts, value=low), F.pad(variance, amounts)
    count = (mean.shape[axis] - dilation * (kernel - 1) - 1) // stride + 1

    def taken(values: Tensor, place: int) -> Tensor:
        index = [slice(None)] * values.dim()
        start = place * dilation
        index[values.dim() + axis] = slice(start, start + (count - 1) * stride + 1, stride)
        return values[tuple(index)]

    return tree([(taken(mean, k), taken(variance, k)) for k in range(kernel)])


def tree(found: Sequence[Pair]) -> Pair:
    """The maximum of several Gaussians: neighbours first, then their maxima."""
    found = list(found)
    while len(found) > 1:
        pairs = [gaussian.maximum(a, b) for a, b in zip(found[::2], found[1::2], strict=False)]
        found = pairs + ([found[-1]] if len(found) % 2 else [])
    return found[0]


def _max_pool_rule(axes: int) -> Callable[..., Tensor]:
    def run(
        input: GaussianTensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        if return_indices:
            raise SzilardError("max-pooling of Gaussians has no indices; set return_indices=False")
        return max_pool(input, axes, kernel_size, stride, padding, dilation, ceil_mode)

    return run


def _avg_pool_rule(axes: int, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(
        input: GaussianTensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        named: dict[str, Any] = {} if axes == 1 else {"divisor_override": divisor_override}

        def pooled(values: Tensor) -> Tensor:
            return function(values, kernel_size, stride, padding, ceil_mode, count_include_pad, **named)

        mean, variance = input.moments
        size = math.prod(_sizes(kernel_size, axes))
        share: float | Tensor = 1 / (divisor_override or size)  # the weight of each entry of a window
        if ceil_mode or (not count_include_pad and any(_sizes(padding, axes))):  # windows differ
            # All weights of a window are equal: (mean of ones) / (number of ones).
            one = mean.new_ones(*[1] * (mean.dim() - axes), *mean.shape[-axes:])
            count = _ones_in_windows(one, axes, function, kernel_size, stride, padding, ceil_mode)
            share = pooled(one) / count
        found = GaussianTensor(pooled(mean), pooled(variance) * share)
        return found if divisor_override else _averaged(found, input, axes)

    return run


def _averaged(found: GaussianTensor, x: GaussianTensor, axes: int) -> GaussianTensor:
    """Averages of windows, of a batch of maps: one window of all positions, or several of equal size."""
    if x.dim() != axes + 2:
        return found
    if math.prod(found.shape[2:]) == 1:
        return sharing.averaged(found, x, range(2, x.dim()))
    return sharing.kept(found, x)


def _ones_in_windows(
    one: Tensor,
    axes: int,
    function: Callable[..., Tensor],
    kernel: Any,
    stride: Any,
    padding: Any,
    ceil: bool,
) -> Tensor:
    """Number of entries of each window that are not padding."""
    if axes > 1:
        return function(one, kernel, stride, padding, ceil, True, divisor_override=1)
    kernel, padding = _sizes(kernel, 1), _sizes(padding, 1)
    stride = kernel if stride in (None, [], ()) else _sizes(stride, 1)
    found = F.avg_pool2d(
        one.unsqueeze(-2), (1, *kernel), (1, *stride), (0, *padding), ceil, True, divisor_override=1
    )
    return found.squeeze(-2)


def _adaptive_rule(axes: int, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(input: GaussianTensor, output_size: Any) -> Tensor:
        mean, variance = input.moments
        pooled = function(mean, output_size)
        share: Tensor | float = 1.0
        for axis in range(-axes, 0):
            size, wanted = mean.shape[axis], pooled.shape[axis]
            if size % wanted == 0:
                share = share * (wanted / size)
            else:
                windows = [-(-(i + 1) * size // wanted) - i * size // wanted for i in range(wanted)]
                one = mean.new_tensor([1 / n for n in windows])
                share = share * one.view([-1, *[1] * (-axis - 1)])
        return _averaged(GaussianTensor(pooled, function(variance, output_size) * share), input, axes)

    return run


for _axes in (1, 2, 3):
    rule(f"max_pool{_axes}d")(_max_pool_rule(_axes))
    rule(f"avg_pool{_axes}d")(_avg_pool_rule(_axes, getattr(F, f"avg_pool{_axes}d")))
    rule(f"adaptive_avg_pool{_axes}d")(_adaptive_rule(_axes, getattr(F, f"adaptive_avg_pool{_axes}d")))


def _adaptive_max_rule(axes: int) -> Callable[..., Tensor]:
    def run(input: GaussianTensor, output_size: Any, return_indices: bool = False) -> Tensor:
        if return_indices:
            raise SzilardError("max-pooling of Gaussians has no indices; set return_indices=False")
        wanted = _sizes(output_size, axes)
        sizes = list(input.shape[-axes:])
        if any(size % n for size, n in zip(sizes, wanted, strict=True)):
            raise SzilardError(
                f"adaptive max-pooling of {sizes} to {wanted} has windows of different sizes and no rule"
            )
        kernel = [size // n for size, n in zip(sizes, wanted, strict=True)]
        return max_pool(input, axes, kernel, kernel, 0, 1, False)

    return run


for _axes in (1, 2, 3):
    rule(f"adaptive_max_pool{_axes}d", places=(F,))(_adaptive_max_rule(_axes))


@rule("amax")
def amax(input: GaussianTensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The maximum along axes, as max-pooling over all of them."""
    if input.before_relu is not None:
        return GaussianTensor.rectified(*amax(GaussianTensor(*input.before_relu), dim, keepdim).moments)  # type: ignore[attr-defined]
    axes = axes_of(dim, input.dim())
    pair: Pair = input.moments
    for axis in axes:
        mean, variance = tree(list(zip(*(part.split(1, axis) for part in pair), strict=True)))
        pair = mean, variance
    if not keepdim:
        pair = pair[0].squeeze(axes), pair[1].squeeze(axes)
    return GaussianTensor(*pair)


@rule("maximum", "max")
def maximum(input: Tensor, other: Any = None, *rest: Any, **named: Any) -> Any:
    """The larger of two; both Gaussian, or one a constant."""
    if not isinstance(other, Tensor) or rest or named:
        raise SzilardError(
            "the maximum along an axis with its indices has no rule for Gaussians; use torch.amax instead of torch.max"
        )
    (m1, v1), (m2, v2) = both(input), both(other)
    return GaussianTensor(*gaussian.maximum((m1, v1), (m2, v2)))
