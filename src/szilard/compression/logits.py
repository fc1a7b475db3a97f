"""Rescale logits of a size that training does not produce, such as with a temperature folded into the last layer.

The predicted class does not depend on the size of logits, but curvature does: if a softmax is nearly one-hot, or nearly
uniform, the curvature is zero nearly everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from szilard.compression.batches import Whole, rows
from szilard.compression.curvature import Forward
from szilard.likelihood import Bernoulli, Categorical, Likelihood

USUAL = 5.0  # root mean square of logits, after the mean of each example is subtracted
LEAST, MOST = 0.02, 200.0  # logits of a size outside this range are rescaled
FEW = 64  # examples on which the size is measured


@torch.no_grad()
def usual_logits(
    likelihood: Likelihood, network: nn.Module, inputs: Sequence[Any], forward: Forward
) -> Forward:
    """The forward, or one whose logits are multiplied by a constant so that they have the size :data:`USUAL`.

    Args:
        likelihood: of the outputs of ``forward``; outputs other than logits stay as they are.
        inputs: batches.
        forward: calls a network on one of them.
    """
    no_logits = type(likelihood) not in (Categorical, Bernoulli)
    if no_logits or getattr(likelihood, "probabilities", True) or not inputs:
        return forward
    few = inputs[0] if isinstance(inputs[0], Whole) else rows(inputs[0], slice(0, FEW))
    z = forward(network, few).double()
    if isinstance(likelihood, Categorical):
        z = z - z.mean(-1 if likelihood.last else 1, keepdim=True)
    size = float(z.square().mean().sqrt())
    if not size > 0 or LEAST <= size <= MOST:
        return forward
    factor = USUAL / size
    return lambda network, x: forward(network, x) * factor
