"""Multiply-adds of each module of a network."""

from __future__ import annotations

import copy

from torch import nn

from szilard.cost.counting import counted_flops
from szilard.cost.inputs import Inputs, runner


def layer_macs(network: nn.Module, input_shape: Inputs) -> dict[str, int]:
    """Multiply-adds of one inference of one example in each module, with everything inside it, by name.

    They are counted as in :func:`szilard.cost.count`. A module that the network does not call, or that has no product,
    is not in the result. The network can be on the meta device.

    Args:
        network: any ``nn.Module``; it is not changed.
        input_shape: as in :func:`szilard.cost.count`.

    Raises:
        SzilardError: the network does not run on that shape.
    """
    network = copy.deepcopy(network).eval()
    counter = counted_flops(network, runner(network, input_shape, batch=1))
    found: dict[str, int] = {}
    for name, counts in counter.get_flop_counts().items():
        whole, _, inside = name.partition(".")  # the first part is the class of the network
        if inside or whole != "Global":
            found[inside] = sum(counts.values()) // 2
    return found
