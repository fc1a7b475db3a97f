"""Pictures, and the same ones mirrored, to compress with.

What is fitted to a few hundred pictures fits others less well: the divergence of ResNet-20's answers on them is half of
that on others. Mirrored ones are twice as many, and are as likely as those that were given wherever left and right mean
nothing. They only tell which errors of rounding matter; nothing is judged by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compress.batches import length
from szilard.compress.passes.distil import macs_of

COLOURS = 3
CHEAP = 1e12  # multiplications and additions, three for each of an answer


def are_pictures(x: Any) -> bool:
    """Whether a batch is one of pictures in three colours, ``[B, 3, H, W]``."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 4 and x.shape[1] == COLOURS


def is_cheap(network: nn.Module, inputs: Sequence[Any]) -> bool:
    """Whether gradients of the answers to twice the pictures take at most :data:`CHEAP` multiplications and additions.

    Elsewhere the pictures that were given must do: a large network would be measured for twice as long.
    """
    if not inputs or not all(map(are_pictures, inputs)):
        return False
    macs = macs_of(network, inputs[0])
    return macs is not None and 3 * macs * 2 * sum(map(length, inputs)) <= CHEAP


def mirrored(inputs: Sequence[Any]) -> list[Any]:
    """Batches in which every picture is followed by its mirror image; others as they are."""
    if not all(map(are_pictures, inputs)):
        return list(inputs)
    return [torch.stack([x, x.flip(3)], 1).flatten(0, 1) for x in inputs]
