"""Logits of a size that no training gives, as behind a temperature that is folded into the last layer.

Which answer is right does not depend on their size, and curvature does: of a softmax that is sure of everything, or of
nothing, it is zero nearly everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from szilard.compression.batches import Whole, rows
from szilard.compression.curvature import Forward
from szilard.likelihood import Bernoulli, Categorical, Likelihood

USUAL = 5.0  # root mean square of logits, those of an example about their mean
LEAST, MOST = 0.02, 200.0  # beyond which logits are taken to have a unit of their own
FEW = 64  # examples that tell


@torch.no_grad()
def usual_logits(told: Likelihood, network: nn.Module, inputs: Sequence[Any], forward: Forward) -> Forward:
    """The forward, or one whose logits are a constant times those, of the size :data:`USUAL`.

    Args:
        told: the likelihood of what ``forward`` gives; other outputs than logits stay as they are.
        inputs: batches.
        forward: calls a network on one of them.
    """
    if type(told) not in (Categorical, Bernoulli) or getattr(told, "probabilities", True) or not inputs:
        return forward
    few = inputs[0] if isinstance(inputs[0], Whole) else rows(inputs[0], slice(0, FEW))
    z = forward(network, few).double()
    if isinstance(told, Categorical):
        z = z - z.mean(-1 if told.last else 1, keepdim=True)
    size = float(z.square().mean().sqrt())
    if not size > 0 or LEAST <= size <= MOST:
        return forward
    factor = USUAL / size
    return lambda network, x: forward(network, x) * factor
