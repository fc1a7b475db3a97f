"""Removes the rows and columns of weights that only silent channels use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes.conversion import use_batch_innermost
from szilard.bayes.weight import Weight
from szilard.errors import SzilardError
from szilard.methods import inputs
from szilard.networks.evaluating import evaluating
from szilard.networks.silent_channels import useless
from szilard.networks.takes import call
from szilard.sparse import Neuron
from szilard.topology.resized import resize

_CLOSE = 1e-3  # of the outputs' size


@torch.no_grad()
def remove(
    network: nn.Module,
    x: Any,
    silent: Mapping[nn.Module, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
) -> list[Weight]:
    """Remove entries without any effect, and the optimisers' state of them; the outputs stay the same.

    Args:
        network: prepared; its silent channels have slope and shift zero.
        x: a batch.
        silent: bool ``[channels]`` for BatchNorms.
        optimizers: those that train the network.

    Returns:
        the weights that have changed, whose entries now are whole rows and columns.

    Raises:
        SzilardError: the outputs changed, which is a fault.
    """

    def run(change: Callable[[Tensor], Tensor]) -> Any:
        return call(network, inputs.each(x, change))

    with evaluating(network):
        before = run(lambda x: x)
    layers = [layer for layer in bayes.bayes_layers(network).values() if _single(layer)]
    changed = []
    for layer, found in zip(layers, useless(network, run, layers, silent), strict=True):
        support = layer.weight.support
        rows = _kept(found.outputs, support.shape[0], support.col.device)
        channels = _kept(
            found.inputs if getattr(layer, "groups", 1) == 1 else None, support.shape[1], rows.device
        )
        if bool(rows.all()) and bool(channels.all()):
            continue
        mask = rows[:, None] & channels[None]
        mask = mask.reshape(*mask.shape, *[1] * (len(support.shape) - 2)).expand(support.shape)
        resize(layer.weight, mask.flatten().nonzero().flatten(), optimizers, Neuron())
        changed.append(layer.weight)
    if changed:
        use_batch_innermost(network)
    with evaluating(network):
        after = run(lambda x: x)
    if not torch.allclose(before, after, rtol=_CLOSE, atol=_CLOSE * float(before.abs().max())):
        raise SzilardError(
            "removing silent channels has changed the outputs of the network, which depend on their inputs in a way "
            "that cannot be followed; use another method, such as --method tickets"
        )
    return changed


def _single(layer: Any) -> bool:
    """Whether all entries of its weight exist, and rows are outputs."""
    return layer.weight.support.is_full and not getattr(layer, "transposed", False)


def _kept(useless: Tensor | None, count: int, device: torch.device) -> Tensor:
    """Bool ``[count]``; all if they are not known, or if none would be left."""
    if useless is None or bool(useless.all()):
        return torch.ones(count, dtype=torch.bool, device=device)
    return ~useless
