"""Run networks of half precision in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

COARSE = (torch.float16, torch.bfloat16)


@contextmanager
def in_float32(network: nn.Module) -> Iterator[bool]:
    """Make parameters and buffers of half precision float32 inside the block; yields whether there are any.

    They keep their identity, and are rounded to their original type at the end.
    """
    coarse: list[tuple[Tensor, torch.dtype]] = [
        (t, t.dtype) for t in (*network.parameters(), *network.buffers()) if t.dtype in COARSE
    ]
    for t, _ in coarse:
        t.data = t.data.float()
    try:
        yield bool(coarse)
    finally:
        for t, dtype in coarse:
            t.data = t.data.to(dtype)
            t.grad = None
