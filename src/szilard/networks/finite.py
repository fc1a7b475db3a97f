"""Finds the tensor of a network that holds NaN or infinite values."""

from __future__ import annotations

import torch
from torch import nn


def not_finite(network: nn.Module) -> str | None:
    """Name of the first parameter with NaN or infinite values, or buffer with NaN; None if there is none.

    Infinite values in a buffer are no error: an attention mask can hold them.
    """
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter.detach()).all()):
            return name
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point() and bool(torch.isnan(buffer).any()):
            return name
    return None


def advice(network: nn.Module, otherwise: str) -> str:
    """What to do about outputs that are not finite, as the end of a sentence: fix the tensor at fault, if any."""
    name = not_finite(network)
    return otherwise if name is None else f"its tensor {name} holds NaN or infinite values; fix or retrain it"
