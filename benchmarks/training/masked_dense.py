"""SSVI as published code runs it: dense tensors times a mask, the arithmetic of a dense network.

Mean, log standard deviation, their gradients and the optimiser's state are as large as the dense weight; the
support is a tensor of zeros and ones that multiplies weights before each product, and gradients and optimiser
state after it. The mathematics is that of :mod:`szilard.sparse.ops` on the same support.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from szilard import bayes
from szilard.bayes.base_layer import BayesLayer
from szilard.bayes.layers import BayesConv, BayesLinear

TINY = 1e-8


class MaskedLayer(nn.Module):
    """A dense, masked version of ``layer``, a linear or 2-d convolution layer with Gaussian weights."""

    mask: Tensor

    def __init__(self, layer: BayesLayer) -> None:
        super().__init__()
        weight = layer.weight
        if weight.log_std is None or not isinstance(layer, BayesLinear | BayesConv):
            raise TypeError("a masked twin needs a linear or convolution layer with Gaussian weights")
        mask = weight.support.mask()
        self.register_buffer("mask", mask.to(weight.mean.dtype))
        self.mean = nn.Parameter(weight.support.scatter(weight.mean.detach()))
        mean_log_std = (
            weight.log_std.detach().mean()
        )  # any finite number is valid if the entry does not exist
        self.log_std = nn.Parameter(
            torch.where(mask, weight.support.scatter(weight.log_std.detach()), mean_log_std)
        )
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.nnz = weight.support.nnz
        self.fan_in = weight.fan_in
        self.how: tuple[Any, ...] | None = None
        if isinstance(layer, BayesConv):
            self.how = (layer.stride, layer.padding, layer.dilation, layer.groups)
        for parameter in (self.mean, self.log_std):
            parameter.register_hook(lambda grad: grad * self.mask)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(x, weight, bias) if self.how is None else F.conv2d(x, weight, bias, *self.how)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Outputs by local reparametrisation; ``noise`` is standard normal in the output's shape, drawn if missing."""
        mean = self.product(x, self.mean * self.mask, self.bias)
        variance = self.product(x.square(), (2 * self.log_std).exp() * self.mask)
        return mean + (variance + TINY).sqrt() * (torch.randn_like(mean) if noise is None else noise)

    def kl(self, scale: float = 1.0) -> Tensor:
        """KL(q ‖ N(0, scale² / fan_in)) over existing entries, nats, scalar."""
        s2 = scale**2 / self.fan_in
        second_moment = (2 * self.log_std).exp() + self.mean.square()
        terms = 0.5 * math.log(s2) - self.log_std + second_moment / (2 * s2) - 0.5
        return (self.mask * terms).sum()


def masked_twin(network: nn.Module) -> nn.Module:
    """A copy of a sparse Bayesian network with every sparse layer replaced by its masked dense twin."""
    network = copy.deepcopy(network)
    for name, layer in bayes.bayes_layers(network).items():
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, MaskedLayer(layer))
    return network


def masked_layers(network: nn.Module) -> list[MaskedLayer]:
    return [module for module in network.modules() if isinstance(module, MaskedLayer)]


def kl(network: nn.Module) -> Tensor:
    """Divergence of all masked weights, nats, scalar."""
    return torch.stack([layer.kl() for layer in masked_layers(network)]).sum()


@torch.no_grad()
def mask_momentum(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Set the optimiser state of entries that do not exist to zero, as published code does after every step."""
    for layer in masked_layers(network):
        for parameter in (layer.mean, layer.log_std):
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == layer.mask.shape:
                    value.mul_(layer.mask)
