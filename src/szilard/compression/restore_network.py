"""Restore a network after a user's function was called on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from szilard.errors import SzilardError


@contextmanager
def restored_after(network: nn.Module) -> Iterator[None]:
    """Restore modes, ``requires_grad`` and buffers after the block.

    Users' functions that score a network switch its mode, freeze it, or update BatchNorm statistics. Passes continue
    with the same network.

    Raises:
        SzilardError: the block has changed the type, the device or the values of a parameter.
    """
    modes = [(module, module.training) for module in network.modules()]
    parameters = {
        name: (p, p.requires_grad, p.dtype, p.device, p._version) for name, p in network.named_parameters()
    }
    buffers = {name: (b, b.detach().clone()) for name, b in network.named_buffers()}
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for p, wanted, *_ in parameters.values():
            p.requires_grad_(wanted)
        with torch.no_grad():
            for buffer, value in buffers.values():
                if buffer.dtype == value.dtype and buffer.shape == value.shape:
                    buffer.copy_(value)
    now = dict(network.named_parameters())
    for name, (p, _, kind, device, version) in parameters.items():
        if now.get(name) is not p or (p.dtype, p.device) != (kind, device) or p._version != version:
            raise SzilardError(
                f"evaluate changes {name} of the network that it receives; let it work on copy.deepcopy(network)"
            )
