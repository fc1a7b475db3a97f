"""Rectifiers done by the layer in front of them, in the pass that writes its answer."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from szilard.bayes.become import kept_aside
from szilard.bayes.layers import BayesLinear


class AppliedReLU(nn.Identity):
    """Stands where a ReLU stood that the linear layer before it now applies."""


def fuse_rectifiers(network: nn.Module) -> None:
    """In every plain ``nn.Sequential``, let a stochastic linear layer take over the ReLU right behind it, in place.

    Left alone: modules with hooks, and any that stands in several places or in a list of the network's own.
    """
    places: dict[nn.Module, int] = {}
    for module in network.modules():
        for child in module._modules.values():
            if child is not None:
                places[child] = places.get(child, 0) + 1
    aside = kept_aside(network)
    for parent in network.modules():
        if not isinstance(parent, nn.Sequential) or type(parent).forward is not nn.Sequential.forward:
            continue
        for (_, layer), (name, after) in pairwise(list(parent._modules.items())):
            alone = all(
                places.get(one) == 1 and id(one) not in aside and not _hooked(one) for one in (layer, after)
            )
            if isinstance(layer, BayesLinear) and type(after) is nn.ReLU and alone:
                layer.relu = True
                parent._modules[name] = AppliedReLU()


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
