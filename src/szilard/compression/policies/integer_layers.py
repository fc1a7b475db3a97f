"""Layers that round their weights, and tensors that are rounded: the parts of a network that computes with integers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.compression.policies.policy import FLOAT
from szilard.networks.norm import NormReLU


def largest_level(weight_bits: int, activation_bits: int) -> int:
    """The largest level of a weight.

    Products of integers have at most 7 bits for the weights, from -64 to 64, because processors without VNNI add pairs
    of 8-bit products in 16 bits (``reduce_range``). Weights that are only stored as integers have 2^(bits-1) - 1, as in
    :class:`szilard.compression.row_rounding.Rows`.
    """
    if activation_bits < FLOAT and weight_bits == 8:
        return 64
    return 2 ** (weight_bits - 1) - 1


def rounded_rows(weight: Tensor, top: int) -> Tensor:
    """Each row of ``weight [rows, ...]`` as multiples of its largest magnitude / top; the gradient passes through."""
    with torch.no_grad():
        step = weight.abs().flatten(1).amax(1).div_(top).view(-1, *[1] * (weight.dim() - 1))
        step = torch.where(step > 0, step, torch.ones_like(step))
        error = (weight / step).round_().clamp_(-top, top).mul_(step).sub_(weight)
    return weight + error


class _Rounded(torch.autograd.Function):
    """Multiples of a step; the gradient passes where the result is not clipped.

    It is 4 times as fast as ``torch.fake_quantize_per_tensor_affine``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float, least: int, most: int) -> Tensor:
        ctx.save_for_backward(x)
        # Half a step further still rounds to the last level.
        ctx.low, ctx.high = (least - 0.5) * step, (most + 0.5) * step
        return x.div(step).round_().clamp_(least, most).mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        passed: Tensor = torch.ops.aten.hardtanh_backward(gradients[0], x, ctx.low, ctx.high)
        return passed, None, None, None


class Rounding(nn.Module):
    """Rounds a tensor to 2^bits levels over a range that includes zero.

    Attributes:
        bits: of a level.
        measuring: the tensor passes, and its range is measured.
        low, high: the range, with zero.
        step: between two levels.
        zero: the level of zero, from 0 to 2^bits - 1.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits, self.measuring = bits, False
        self.low = self.high = 0.0
        self.step, self.zero = 1.0, 0

    def forward(self, x: Tensor) -> Tensor:
        if self.measuring:
            low, high = x.detach().aminmax()
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
            return x
        rounded: Tensor = _Rounded.apply(x, self.step, -self.zero, self.top - self.zero)
        return rounded

    @property
    def top(self) -> int:
        """The largest level."""
        return 2**self.bits - 1

    def freeze(self) -> None:
        """Set step and level of zero from the measured range."""
        step = (self.high - self.low) / self.top
        self.step, self.zero = (step, round(-self.low / step)) if step > 0 else (1.0, 0)


class Integers:
    """Layers whose weight is rounded when they are called; the class of a layer is changed in place.

    Attributes:
        top: largest level of the weight.
        stored: only the weights are integers. Ranges of activations are measured with the rounded weights then; the
            runtime's quantiser measures them before it rounds.
        measuring: ranges are measured.
    """

    top: int
    stored: bool
    measuring: bool

    def _weight(self, weight: Tensor) -> Tensor:
        return weight if self.measuring and not self.stored else rounded_rows(weight, self.top)


class IntegerLinear(Integers, nn.Linear):
    """A linear layer with integers for weights."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight(self.weight), self.bias)


class IntegerConv1d(Integers, nn.Conv1d):
    """A convolution with integers for weights."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._weight(self.weight), self.bias)


class IntegerConv2d(Integers, nn.Conv2d):
    """A convolution with integers for weights."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._weight(self.weight), self.bias)


class IntegerNormReLU(NormReLU):
    """A norm that rounds before it adds the shortcut, where the folded layer ends."""

    rounding: Rounding

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        y = self.rounding(nn.BatchNorm2d.forward(self, x))
        return F.relu(y if shortcut is None else y + shortcut)


#: The class of a layer that rounds its weight, by that of the plain one.
CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: IntegerLinear,
    nn.Conv1d: IntegerConv1d,
    nn.Conv2d: IntegerConv2d,
}
#: The way back.
PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    **{made: plain for plain, made in CLASSES.items()},
    IntegerNormReLU: NormReLU,
}
