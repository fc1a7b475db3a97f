"""Runs draws of a network and collects their outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from szilard import bayes
from szilard.bayes import evaluating
from szilard.bayes.noise import PREDICTING, mix
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError
from szilard.methods import checks, inputs
from szilard.networks.takes import call


@torch.no_grad()
def outputs(
    network: nn.Module,
    x: Any,
    samples: int,
    seed: int,
    batch_size: int,
    stand_ins: StandIns | None = None,
) -> Tensor:
    """``[S, N, ...]`` outputs, in host memory, of S coherent draws; of one draw if nothing is random.

    Several threads can run one network at the same time; each gets the same bits as if it ran alone.

    Args:
        x: all inputs, a tensor ``[N, ...]`` or a tuple, list or dict of them.
        samples, batch_size: at least 1.
        stand_ins: replacements in each draw for categories that were not in the training data.

    Raises:
        SzilardError: ``samples`` or ``batch_size`` below 1, or an output that is not a tensor.
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
            with bayes.drawn(network, mix(seed, PREDICTING), sample):
                parts = [
                    checks.answer(call(network, part), inputs.count(part)).cpu()
                    for part in inputs.parts(x, batch_size, device)
                ]
            found.append(checks.joined(parts))
    return torch.stack(found)
