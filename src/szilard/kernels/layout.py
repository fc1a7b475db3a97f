"""The layout in which sparse convolutions are fast: batch-innermost, ``[C, H, W, B]`` in memory.

A tensor keeps its logical shape ``[B, C, H, W]``; only its strides tell. Elementwise operations keep strides, so a
batch-innermost activation stays so through ReLU, sums and whatever else is not aware of it.
"""

from __future__ import annotations

from torch import Tensor


def innermost(x: Tensor) -> Tensor:
    """``x [B, C, *size]`` with the batch innermost in memory; itself if it lies so already."""
    return x if is_innermost(x) else x.movedim(0, -1).contiguous().movedim(-1, 0)


def is_innermost(x: Tensor) -> bool:
    """Whether ``x [B, C, *size]`` lies batch-innermost."""
    return x.movedim(0, -1).is_contiguous()


def innermost_like(x: Tensor, *shape: int) -> Tensor:
    """An uninitialised tensor of ``shape [B, C, *size]``, batch-innermost, with the dtype and device of ``x``."""
    strides, step = [1], shape[0]
    for size in reversed(shape[1:]):
        strides.insert(1, step)
        step *= size
    # Not a view: autograd adds to a gradient in place only where nobody else holds its memory.
    return x.new_empty_strided(shape, strides)
