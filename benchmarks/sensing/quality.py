"""How near a reconstruction is: PSNR and SSIM of pictures in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def psnr(found: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB; white is 1. The reconstruction is cut to [0, 1]."""
    error = (found.clamp(0, 1).double() - truth.double()).square().mean()
    return float(-10 * torch.log10(error))


def ssim(found: Tensor, truth: Tensor) -> float:
    """Structural similarity of two pictures ``[height, width]``, with torchmetrics' Gaussian window of 11 pixels."""
    first, second = (picture.clamp(0, 1)[None, None] for picture in (found, truth))
    value = structural_similarity_index_measure(first, second, data_range=1.0)
    assert isinstance(value, Tensor)
    return float(value)
