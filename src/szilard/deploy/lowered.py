"""A copy of a network in ordinary layers and dense weights, for runtimes that know no sparse products.

Sparse layers become layers that hold dense tensors: for moments, the mean and the variance of each weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard.bayes import BayesConv, BayesLayer, BayesLinear, point_network
from szilard.bayes.in_place import replace_in_place
from szilard.bayes.moments.positions import Dense
from szilard.bayes.moments.sharing import Window, alone, weighted
from szilard.bayes.moments.value import GaussianTensor
from szilard.bayes.original_classes import restore_classes
from szilard.networks import copied, make_plain


class GaussianLayer(nn.Module):
    """A linear map or convolution with a Gaussian weight, whose output is always Gaussian.

    Buffers:
        mean: m, the mean of each weight; of the shape of torch's ``weight``.
        variance: s, the variance of each weight; None for a weight without uncertainty.
        second: m² + s, which multiplies the variance of the inputs.
        bias: or None.
    """

    mean: Tensor
    variance: Tensor | None
    second: Tensor
    bias: Tensor | None

    def __init__(self, mean: Tensor, variance: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        square = mean.square()
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self.register_buffer("second", square if variance is None else square + variance)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = alone(x)
        found = self._product(mean, self.mean, self.bias)
        terms = []
        if variance is not None:
            terms.append(self._product(variance, self.second))
        if self.variance is not None:
            terms.append(self._product(mean.square(), self.variance))
        if not terms:
            return found
        answer = GaussianTensor(found, terms[0] if len(terms) == 1 else terms[0] + terms[1])
        return weighted(answer, x, self.parts(), self.window())

    def parts(self) -> tuple[Dense, Dense | None]:
        """Functions that give mean and variance of the weight; None: it has no variance."""
        spread = self.variance
        return lambda: self.mean, None if spread is None else lambda: spread

    def window(self) -> Window | None:
        """Of a convolution."""
        return None

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        raise NotImplementedError


class GaussianLinear(GaussianLayer):
    """``x [..., I] -> [..., O]``."""

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias)


class GaussianConv(GaussianLayer):
    """``x [B, C, *size] -> [B, O, *size']``, 1-d or 2-d.

    Args:
        geometry: stride, padding, dilation and groups.
        pad: amounts and mode of :func:`torch.nn.functional.pad`, for padding other than zeros.
    """

    def __init__(
        self,
        mean: Tensor,
        variance: Tensor | None,
        bias: Tensor | None,
        geometry: tuple[Any, ...],
        pad: tuple[list[int], str] | None,
    ) -> None:
        super().__init__(mean, variance, bias)
        self.geometry, self.pad = geometry, pad

    def window(self) -> Window | None:
        zeros = self.pad[0] if self.pad is not None and self.pad[1] == "constant" else ()
        stride, padding, dilation, groups = self.geometry
        return Window(self.mean.shape[2:], stride, padding, dilation, groups, zeros)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.pad is None else F.pad(x, *self.pad))

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        function: Any = F.conv1d if weight.dim() == 3 else F.conv2d
        return function(x, weight, bias, *self.geometry)


@torch.no_grad()
def with_moments(network: nn.Module) -> nn.Module:
    """A copy in eval mode that returns a ``GaussianTensor``, with dense weights in :class:`GaussianLayer`.

    Layers without sparse products (recurrent ones, embeddings) keep their class.
    """
    answer = copied(network).eval()
    make_plain(answer)
    for module in list(answer.modules()):
        if isinstance(module, BayesLayer):
            replace_in_place(module, _gaussian(module))
    restore_classes(answer)
    return answer.requires_grad_(False)


@torch.no_grad()
def as_point(network: nn.Module) -> nn.Module:
    """A copy in eval mode with ordinary layers that hold the mean weights."""
    answer = point_network(network).eval()
    make_plain(answer)
    restore_classes(answer)
    return answer.requires_grad_(False)


def _gaussian(layer: BayesLayer) -> GaussianLayer:
    weight, support = layer.weight, layer.weight.support
    mean = support.scatter(weight.mean.detach())
    variance = None if weight.log_std is None else support.scatter((2 * weight.log_std.detach()).exp())
    bias = None if layer.bias is None else layer.bias.detach().clone()
    if isinstance(layer, BayesLinear):
        return GaussianLinear(mean, variance, bias)
    assert isinstance(layer, BayesConv)
    stride, padding, dilation, groups = layer.geometry
    return GaussianConv(mean, variance, bias, (stride, padding, dilation, groups), layer.pad)
