"""Input patches: the vectors with which the rows of a layer's weight are multiplied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def patches(layer: Layer, x: Tensor) -> Tensor:
    """All patches of inputs of the layer, ``[groups, n, cols]``."""
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    if isinstance(layer, nn.Conv3d):
        return _volumes(layer, x)
    if isinstance(layer, nn.Conv1d):
        x, size, stride, dilation = (
            x[:, :, None],
            (1, *layer.kernel_size),
            (1, *layer.stride),
            (1, *layer.dilation),
        )
    else:
        size, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if layer.padding_mode == "zeros" and isinstance(layer.padding, tuple):
        padding: tuple[int, ...] = layer.padding if isinstance(layer, nn.Conv2d) else (0, *layer.padding)
    else:
        # Paddings that are not constant need the original number of dimensions.
        x = padded(layer, x[:, :, 0])[:, :, None] if isinstance(layer, nn.Conv1d) else padded(layer, x)
        padding = (0, 0)
    unfolded = F.unfold(x, size, dilation, padding, stride)
    batch, _, n = unfolded.shape
    grouped = unfolded.reshape(batch, layer.groups, -1, n)
    return grouped.permute(1, 0, 3, 2).reshape(layer.groups, batch * n, -1)


def padded(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """The input with the layer's padding."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, list(layer._reversed_padding_repeated_twice), mode=mode)


def _volumes(layer: nn.Conv3d, x: Tensor) -> Tensor:
    """Patches of volumes, because ``F.unfold`` takes images only."""
    x = padded(layer, x)
    for axis in (2, 3, 4):
        size, stride, dilation = (
            values[axis - 2] for values in (layer.kernel_size, layer.stride, layer.dilation)
        )
        x = x.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    batch, channels, *rest = x.shape  # three dimensions of positions, then three of the kernel
    grouped = x.reshape(batch, layer.groups, channels // layer.groups, -1, rest[3] * rest[4] * rest[5])
    return grouped.permute(1, 0, 3, 2, 4).reshape(
        layer.groups, -1, channels // layer.groups * grouped.shape[4]
    )


def by_row(layer: Layer, grad: Tensor) -> Tensor:
    """A gradient at the layer's output as ``[first dimension, positions, rows]``."""
    axis = grad.dim() - 1 if isinstance(layer, nn.Linear) else 1
    return grad.movedim(axis, -1).reshape(len(grad), -1, grad.shape[axis])


def product(layer: Layer, given: Tensor, grad: Tensor) -> Tensor:
    """The gradient of the layer's weight, if output = weight · patch; of the weight's shape."""
    seen, back = patches(layer, given), by_row(layer, grad)
    back = back.reshape(-1, len(seen), back.shape[2] // len(seen)).transpose(0, 1)  # [groups, n, rows]
    found: Tensor = torch.einsum("gnr,gnc->grc", back.to(seen), seen)
    return found.reshape(layer.weight.shape)
