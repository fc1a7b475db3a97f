"""Whether a network answers the same twice, where there are no data to ask it by."""

from __future__ import annotations

import torch
from torch import nn

from szilard.compression.guess import guess_inputs
from szilard.compression.probe import distance, numbers
from szilard.errors import SzilardError

MOST = 1e-2  # of the largest answer


@torch.no_grad()
def check_steady(network: nn.Module) -> None:
    """Ask twice on random inputs of the shapes that a network takes; where none is known, nothing is checked.

    Raises:
        SzilardError: the answers differ.
    """
    for x in guess_inputs(network):
        try:
            first, again = numbers(network(x)), numbers(network(x))
        except Exception:  # a guess that does not fit
            continue
        if not first:
            continue
        apart = distance(again, first)
        if apart > MOST:
            raise SzilardError(
                "the network answers differently each time, even in eval mode; take out what is random, such as "
                "dropout by torch.nn.functional without training=self.training"
            )
