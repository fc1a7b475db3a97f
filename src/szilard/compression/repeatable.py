"""Check that a network without data gives the same outputs twice."""

from __future__ import annotations

import torch
from torch import nn

from szilard.compression.probe import distance, numbers
from szilard.compression.random_inputs import random_inputs
from szilard.errors import SzilardError

MOST = 1e-2  # relative to the largest output


@torch.no_grad()
def check_repeatable(network: nn.Module) -> None:
    """Run a network twice on random inputs of the shapes that it takes; if no shape is known, nothing is checked.

    Raises:
        SzilardError: the outputs differ.
    """
    for x in random_inputs(network):
        try:
            first, again = numbers(network(x)), numbers(network(x))
        except Exception:  # any error of a network on an input of the wrong shape
            continue
        if not first:
            continue
        apart = distance(again, first)
        if apart > MOST:
            raise SzilardError(
                "the network's outputs differ each time, even in eval mode; remove what is random, such as dropout by "
                "torch.nn.functional without training=self.training"
            )
