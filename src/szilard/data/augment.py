"""Data augmentation of the CIFAR literature: random crops and mirror images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def crop_flip(x: Tensor, generator: torch.Generator, pad: int = 4) -> Tensor:
    """Shift each image by up to ``pad`` pixels and mirror half of them (He et al. 2015, §4.2).

    Args:
        x: ``[B, C, H, W]``, normalised; pixels shifted in are 0, the mean colour, as in the paper.
        generator: on the CPU for every device of ``x``, so that all devices see the same crops.
    """
    count, channels, height, width = x.shape
    top = torch.randint(2 * pad + 1, (count, 1), generator=generator)
    left = torch.randint(2 * pad + 1, (count, 1), generator=generator)
    mirrored = torch.randint(2, (count, 1), generator=generator).bool()
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    columns = torch.where(mirrored, columns.flip(1), columns)
    example, channel = torch.arange(count).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1)
    index = [
        part.to(x.device) for part in (example, channel, rows[:, None, :, None], columns[:, None, None, :])
    ]
    return F.pad(x, (pad, pad, pad, pad))[tuple(index)]
