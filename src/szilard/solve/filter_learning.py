"""Learns a convolutional dictionary from signals or images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import float_tensor
from szilard.solve.convolution import Convolution
from szilard.solve.fista import FISTA

_CANDIDATES = 4  # patches for each filter, of which the largest become the first filters
_IDLE = 10  # batches after which a filter that no code uses is replaced


def learn_filters(
    images: Sequence[Any],
    count: int,
    size: int | tuple[int, ...],
    penalty: float,
    seed: int = 0,
    steps: int = 200,
    batch: int = 4,
    crop: int = 32,
    iterations: int = 20,
    rate: float = 0.02,
) -> Tensor:
    """Filters of unit norm that minimise ½‖b - Σ_k d_k * x_k‖² + λ‖x‖₁ over crops of images.

    Each step draws crops, finds their codes by FISTA, and moves the filters along the gradient (Adam, projected to unit
    norm). Filters start as patches; one that no code uses becomes a patch that is explained badly. Remove the slowly
    varying part of images before (:func:`~szilard.solve.denoiser.split`): it is not sparse.

    Args:
        images: signals ``[N]`` or images ``[H, W]``, each at least as large as a crop.
        count: how many filters K.
        size: of a filter: h, or (h, w); one number stands for all axes.
        penalty: λ.
        seed: of crops and patches.
        steps: batches.
        batch: crops in a batch.
        crop: the length of their sides.
        iterations: of FISTA for a batch.
        rate: the first step size of Adam; it falls to zero as a cosine.

    Returns:
        ``[K, h]`` or ``[K, h, w]``, float32.

    Raises:
        SzilardError: if an image is smaller than a crop, or a crop than a filter.
    """
    pictures = [float_tensor(image, f"image {index}").float() for index, image in enumerate(images)]
    if not pictures or count < 1 or steps < 1:
        raise SzilardError(
            f"{len(pictures)} images, {count} filters and {steps} steps; give at least one of each"
        )
    axes = pictures[0].ndim
    extent = (size,) * axes if isinstance(size, int) else tuple(size)
    for index, picture in enumerate(pictures):
        if picture.ndim != axes or axes not in (1, 2) or min(picture.shape) < crop:
            raise SzilardError(
                f"image {index} has shape {tuple(picture.shape)}; give signals [N] or images [H, W] of at least {crop} "
                "a side"
            )
        if not torch.isfinite(picture).all():
            raise SzilardError(f"image {index} is not finite; remove or mend it")
    if len(extent) != axes or max(extent) > crop:
        raise SzilardError(f"filters of size {extent} do not fit crops of {(crop,) * axes}")

    generator = torch.Generator().manual_seed(seed)
    first = random_crops(pictures, extent, _CANDIDATES * count, generator)
    first = first[first.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:count]]
    first = first + 0.1 * (float(first.std()) or 1.0) * torch.randn(first.shape, generator=generator)
    first = first - first.flatten(1).mean(1).view(-1, *(1,) * axes)
    dictionary = Convolution(_unit(first), (crop,) * axes, "zero")
    kernels = dictionary.learn()
    optimizer = torch.optim.Adam([kernels], lr=rate, betas=(0.8, 0.99))
    idle = torch.zeros(count, dtype=torch.long)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        b = random_crops(pictures, (crop,) * axes, batch, generator).flatten(1)
        with torch.no_grad():
            x = FISTA(dictionary, penalty, iterations)(b).x
        residual = dictionary.product(x) - b
        optimizer.zero_grad()
        (residual.square().sum() / (2 * batch)).backward()
        optimizer.step()
        with torch.no_grad():
            kernels.copy_(_unit(kernels))
            used = dictionary.maps(x).transpose(0, 1).flatten(1).any(1)
            idle = torch.where(used, 0, idle + 1)
            for dead in (idle >= _IDLE).nonzero()[:, 0].tolist():
                patch = random_crops(list(dictionary.images(residual)), extent, 8, generator)
                worst = patch[int(patch.flatten(1).norm(dim=1).argmax())]
                kernels[dead] = _unit(worst[None]).view(kernels[dead].shape)
                idle[dead] = 0
    return dictionary.filters.detach().clone()


def _unit(filters: Tensor) -> Tensor:
    norms = filters.flatten(1).norm(dim=1).clamp_min(torch.finfo(filters.dtype).tiny)
    return filters / norms.view(-1, *(1,) * (filters.ndim - 1))


def random_crops(
    pictures: Sequence[Tensor], extent: tuple[int, ...], count: int, generator: torch.Generator
) -> Tensor:
    """Crops at random places, ``[count, *extent]``."""
    crops = []
    for index in torch.randint(len(pictures), (count,), generator=generator).tolist():
        place = []
        for whole, part in zip(pictures[index].shape, extent, strict=True):
            start = int(torch.randint(whole - part + 1, (1,), generator=generator))
            place.append(slice(start, start + part))
        crops.append(pictures[index][tuple(place)])
    return torch.stack(crops)
