"""The floating type in which a network computes."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn


def float_type(network: nn.Module) -> torch.dtype:
    """The type of the network's first floating-point parameter, or else buffer; float32 if it has none."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def cast(network: nn.Module, x: Tensor) -> Tensor:
    """Inputs on the device of a network; floating-point inputs are converted to its type, integers are unchanged."""
    parameter = next(network.parameters(), None)
    x = x if parameter is None else x.to(parameter.device)
    return x.to(float_type(network)) if x.is_floating_point() else x


def precise(output: Tensor) -> Tensor:
    """Outputs in at least float32, for metrics and tables."""
    half = output.is_floating_point() and output.element_size() < 4
    return output.float() if half else output
