"""Calibration images together with their mirror images.

A rounded network that is fitted to a few hundred images follows the original less well on other images. Mirror images
double the number of images that curvature, fits and means see. They are not used to judge a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.compression.batches import length
from szilard.compression.passes.distil import macs_of

CHANNELS = 3
CHEAP = 1e12  # multiply-adds, three times those of a forward pass for each image


def are_images(x: Any) -> bool:
    """Whether a batch is images with three channels, float ``[B, 3, H, W]``."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() == 4 and x.shape[1] == CHANNELS


def is_cheap(network: nn.Module, inputs: Sequence[Any]) -> bool:
    """Whether gradients for twice as many images take at most :data:`CHEAP` multiply-adds.

    A large network is measured on the given images only, because mirror images would double the time.
    """
    if not inputs or not all(map(are_images, inputs)):
        return False
    macs = macs_of(network, inputs[0])
    return macs is not None and 3 * macs * 2 * sum(map(length, inputs)) <= CHEAP


def with_mirrored(inputs: Sequence[Any]) -> list[Any]:
    """Batches ``[2 B, 3, H, W]`` in which each image is followed by its mirror image; other batches as given."""
    if not all(map(are_images, inputs)):
        return list(inputs)
    return [torch.stack([x, x.flip(3)], 1).flatten(0, 1) for x in inputs]
