"""Denoises images by sparse codes of what varies fast in them; what varies slowly is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.checks import float_tensor
from szilard.solve.conv_alista import ConvALISTA
from szilard.solve.filter_learning import random_crops


def split(images: Tensor, smoothing: float = 2.0) -> tuple[Tensor, Tensor]:
    """The slowly varying part, argmin ½‖low - image‖² + ½ s ‖∇ low‖², and the rest.

    Args:
        images: ``[..., H, W]``, continued as in a mirror.
        smoothing: s.

    Returns:
        Two tensors ``[..., H, W]`` whose sum is the images.
    """
    height, width = images.shape[-2:]
    mirrored = torch.cat((images, images.flip(-1)), -1)
    mirrored = torch.cat((mirrored, mirrored.flip(-2)), -2)
    down = 2 - 2 * torch.cos(2 * math.pi * torch.fft.fftfreq(2 * height, device=images.device))
    right = 2 - 2 * torch.cos(2 * math.pi * torch.fft.rfftfreq(2 * width, device=images.device))
    kept = 1 / (1 + smoothing * (down[:, None] + right))
    low = torch.fft.irfft2(torch.fft.rfft2(mirrored) * kept.to(images), s=(2 * height, 2 * width))
    low = low[..., :height, :width]
    return low, images - low


class Denoiser(nn.Module):
    """Images without their noise: the slowly varying part, and what the last codes of a solver stand for.

    Args:
        solver: a convolutional solver for images.
        smoothing: s of :func:`split`.
    """

    def __init__(self, solver: ConvALISTA, smoothing: float = 2.0) -> None:
        super().__init__()
        if len(solver.operator.size) != 2 or solver.operator.channels:
            raise SzilardError(
                "the solver's filters are not [K, h, w]; a denoiser needs those of grey images"
            )
        self.solver, self.smoothing = solver, smoothing

    def forward(self, images: Tensor) -> Tensor:
        """Denoised images ``[B, H, W]``; of any size, but gradients only for the size of the solver."""
        low, high = split(images, self.smoothing)
        size = tuple(images.shape[1:])
        solver = self.solver if size == self.solver.operator.size else self.solver.resized(size)
        return low + solver.images(solver(high.flatten(1)))

    def fit(
        self,
        pictures: Sequence[Any],
        noise: float,
        steps: int = 200,
        batch: int = 4,
        seed: int = 0,
        rate: float = 0.05,
    ) -> list[float]:
        """Learn the solver's parameters on crops of clean pictures to which noise is added (Adam, all layers at once).

        Args:
            pictures: ``[H, W]``, each at least as large as the solver's images.
            noise: its standard deviation, in the units of the pictures.
            steps: batches.
            batch: crops in a batch.
            seed: of crops and noise.
            rate: the first step size of Adam, relative to the size of each group of numbers; it falls as a cosine.

        Returns:
            The mean squared error of each batch.

        Raises:
            SzilardError: if a picture is too small, or the noise is not positive.
        """
        clean = [float_tensor(picture, f"picture {i}") for i, picture in enumerate(pictures)]
        size = self.solver.operator.size
        for index, picture in enumerate(clean):
            if picture.ndim != 2 or picture.shape[0] < size[0] or picture.shape[1] < size[1]:
                raise SzilardError(
                    f"picture {index} has shape {tuple(picture.shape)}; give grey pictures of at least {size[0]} x "
                    f"{size[1]}"
                )
        if not clean or not 0 < noise < float("inf"):
            raise SzilardError(f"{len(clean)} pictures, noise={noise}; give pictures, and a positive noise")
        generator = torch.Generator().manual_seed(seed)
        groups = [
            {"params": [parameter], "size": float(parameter.detach().abs().mean()) or 1.0}
            for parameter in self.solver.parameters()
        ]
        optimizer = torch.optim.Adam(groups, lr=rate)
        device, dtype = self.solver.operator.device, self.solver.operator.dtype
        losses = []
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * group["size"] * 0.5 * (1 + math.cos(math.pi * step / steps))
            crops = random_crops(clean, size, batch, generator)
            noisy = crops + noise * torch.randn(crops.shape, generator=generator)
            loss = (self(noisy.to(device, dtype)) - crops.to(device, dtype)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses
