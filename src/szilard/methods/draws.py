"""The outputs of draws of a network, from which predictions are made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes import evaluating
from szilard.bayes.noise import mix
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError
from szilard.methods import checked, inputs
from szilard.networks.takes import call

_PREDICTING = 0x7072  # keeps the draws of predictions apart from those of training


@torch.no_grad()
def outputs(
    network: nn.Module,
    x: Any,
    samples: int,
    seed: int,
    batch_size: int,
    stand_ins: StandIns | None = None,
) -> Tensor:
    """``[S, N, ...]`` outputs, in host memory, of S coherent draws; of one if nothing is random.

    Threads may ask one network at once; each gets the bits that it would have had alone.

    Args:
        x: all inputs, a tensor ``[N, ...]`` or a tuple, list or dict of them.
        samples, batch_size: at least 1.
        stand_ins: what each draw meets in place of categories that training has not seen.

    Raises:
        SzilardError: fewer samples or examples a batch than one, or an answer that is no tensor.
    """
    for name, number in (("samples", samples), ("batch_size", batch_size)):
        if number < 1:
            raise SzilardError(f"{name} must be at least 1, not {number}")
    device = next(network.parameters()).device
    vary = None if stand_ins is None else stand_ins.draws(x, samples, seed)
    random = vary is not None or any(not weight.is_point for weight in bayes.weights(network).values())
    found = []
    with evaluating(network):
        for sample in range(samples if random else 1):
            x = x if vary is None else vary(sample)
            with bayes.drawn(network, mix(seed, _PREDICTING), sample):
                parts = [
                    checked.answer(call(network, part), inputs.count(part)).cpu()
                    for part in inputs.parts(x, batch_size, device)
                ]
            found.append(checked.joined(parts))
    return torch.stack(found)
