"""The memory layout in which sparse convolutions are fast: batch-innermost, ``[C, H, W, B]``.

A tensor keeps its logical shape ``[B, C, H, W]``; only its strides change. Elementwise operations keep strides, so an
activation stays batch-innermost through ReLU, sums and other operations that do not know of the layout.
"""

from __future__ import annotations

from torch import Tensor


def innermost(x: Tensor) -> Tensor:
    """``x [B, C, *size]`` with the batch innermost in memory; ``x`` itself if it already has this layout."""
    return x if is_innermost(x) else x.movedim(0, -1).contiguous().movedim(-1, 0)


def is_innermost(x: Tensor) -> bool:
    """Whether ``x [B, C, *size]`` is batch-innermost."""
    return x.movedim(0, -1).is_contiguous()


def innermost_like(x: Tensor, *shape: int) -> Tensor:
    """An uninitialised tensor of ``shape [B, C, *size]``, batch-innermost, with the dtype and device of ``x``."""
    strides, step = [1], shape[0]
    for size in reversed(shape[1:]):
        strides.insert(1, step)
        step *= size
    # Not a view: autograd accumulates a gradient in place only if nothing else holds its memory.
    return x.new_empty_strided(shape, strides)
