"""Sparse and Gaussian layers as steps of a program, and the choice of how each is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from szilard.bayes import BayesConv, BayesLayer, BayesLinear
from szilard.bayes.in_place import replace_in_place
from szilard.bayes.original_classes import restore_classes
from szilard.deploy.native.products import conv_layer, linear_layer
from szilard.deploy.native.traced import Dense, Sparse, Traced, Weight
from szilard.errors import SzilardError
from szilard.networks import copied, make_plain

#: From the two ways to store a weight and a function that adds its layer to a program, to the faster one.
Choose = Callable[[str, Traced, Sparse, Callable[[Traced, Weight], Traced]], Weight]

DENSEST = 0.5  # a weight of which more exists is stored as a dense one without measuring


class NativeLayer(nn.Module):
    """A layer with a weight for :class:`szilard.kernels.inference.Program`; it takes traced tensors only."""

    def __init__(self, layer: BayesLayer, name: str, moments: bool, choose: Choose) -> None:
        super().__init__()
        weight, support = layer.weight, layer.weight.support
        crow, col = support.crow, support.col
        mean = weight.mean.detach().float()
        spread = None
        if moments and weight.log_std is not None:
            spread = (2 * weight.log_std.detach()).exp().float()
        self.sparse = Sparse(mean, spread, crow, col, tuple(support.shape))
        self.full = support.density > DENSEST
        self.constant = None if layer.bias is None else layer.bias.detach().float()
        self.name, self.choose = name, choose
        self.geometry: tuple[Any, ...] | None = None
        if isinstance(layer, BayesConv):
            stride, padding, dilation, groups = layer.geometry
            self.geometry = stride, _padding(layer, padding, name), dilation, groups

    def forward(self, x: Traced) -> Traced:
        if not isinstance(x, Traced):
            raise SzilardError(
                f"{self.name} was called with an ordinary tensor; the native backend cannot compile it"
            )
        weight = dense(self.sparse) if self.full else self.choose(self.name, x, self.sparse, self._added)
        return self._added(x, weight)

    def _added(self, x: Traced, weight: Weight) -> Traced:
        if self.geometry is None:
            return linear_layer(x, weight, self.constant)
        return conv_layer(x, weight, self.constant, *self.geometry)


def _padding(layer: BayesConv, padding: list[int], name: str) -> list[tuple[int, int]]:
    """Zeros before and after each axis."""
    pairs = [(n, n) for n in padding]
    if layer.pad is None:
        return pairs
    amounts, mode = layer.pad  # from the last axis on
    if mode != "constant":
        raise SzilardError(
            f"the native backend pads with zeros only, and {name} pads with {mode}; choose another backend"
        )
    more = list(zip(amounts[::2], amounts[1::2], strict=True))[::-1]
    return [(a + c, b + d) for (a, b), (c, d) in zip(pairs, more, strict=True)]


def dense(weight: Sparse) -> Dense:
    """The same weight with every entry."""
    spread = None if weight.variance is None else weight.dense(weight.variance)
    return Dense(weight.dense(weight.mean), spread)


@torch.no_grad()
def lowered(network: nn.Module, moments: bool, choose: Choose) -> nn.Module:
    """A copy in eval mode whose Bayesian layers are :class:`NativeLayer`."""
    answer = copied(network).eval()
    make_plain(answer)
    for name, module in list(answer.named_modules()):
        if isinstance(module, BayesLinear | BayesConv):
            replace_in_place(module, NativeLayer(module, name, moments, choose))
    restore_classes(answer)
    return answer.requires_grad_(False)
