"""Products with a weight of blocks as Triton kernels: a tensor-core product for each block.

The values of a block row of a :class:`~szilard.sparse.block.Block` support are, in their CSR order, one dense matrix
``[side, blocks * side]``, so block k of a block row begins ``k * side`` after the start of each of its rows and no copy
of the values is needed. Smaller blocks at the edges are masked. Sums are float32; the setting of torch decides whether
the factors are rounded to TF32 (``torch.set_float32_matmul_precision``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from szilard.sparse.triton_kernels import _KEY, normal, tiles, words

_TINY = tl.constexpr(1e-8)


class BlockIndex(NamedTuple):
    """Where the blocks are: CSR of single entries' rows, and of blocks in both orders; all int32."""

    crow: Tensor  # [rows + 1], of entries
    block_crow: Tensor  # [block rows + 1]
    block_row: Tensor  # [blocks]
    block_col: Tensor  # [blocks], ascending within a block row
    block_t_crow: Tensor  # [block columns + 1]
    block_t_perm: Tensor  # [blocks], position of each in row order


@triton.jit
def _starts(crow, row, rows, SIDE: tl.constexpr, WHOLE: tl.constexpr):
    """Position of the first value of each row; if all blocks are whole, the compiler can read four at a time."""
    start = tl.load(crow + row, row < rows, 0)
    if WHOLE:
        start = tl.multiple_of(start, [SIDE])
    return start


# Y_I = Σ_J W_IJ X_J over the existing blocks J of block row I;
# LRT: Y_I = Σ_J M_IJ X_J + S ∘ E,  S∘S = Σ_J V_IJ (X_J∘X_J) + tiny,  factor = E / (2 S).
@triton.jit(do_not_specialize=_KEY)
def _forward(
    x, mean, variance, y, factor, crow, block_crow, block_col, rows, cols, batch,
    seed_low, seed_high, draw_low, draw_high,
    LRT: tl.constexpr, SIDE: tl.constexpr, WHOLE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    inside = tl.arange(0, SIDE)
    row = tl.program_id(0) * SIDE + inside
    b = tl.program_id(1) * TILE + tl.arange(0, TILE)
    first = tl.load(block_crow + tl.program_id(0))
    end = tl.load(block_crow + tl.program_id(0) + 1)
    start = _starts(crow, row, rows, SIDE, WHOLE)
    total = tl.zeros([SIDE, TILE], tl.float32)
    spread = tl.zeros([SIDE, TILE], tl.float32)
    for block in range(first, end):
        col = tl.load(block_col + block) * SIDE + inside
        there = (row < rows)[:, None] & (col < cols)
        place = start[:, None] + (block - first) * SIDE + inside
        at = col.to(tl.int64)[:, None] * batch + b
        seen = tl.load(x + at, (col < cols)[:, None] & (b < batch), 0.0)
        total = tl.dot(tl.load(mean + place, there, 0.0), seen, total, input_precision=PRECISION)
        if LRT:
            spread = tl.dot(
                tl.load(variance + place, there, 0.0), seen * seen, spread, input_precision=PRECISION
            )
    out = row.to(tl.int64)[:, None] * batch + b
    kept = (row < rows)[:, None] & (b < batch)
    if LRT:
        std = tl.sqrt(spread + _TINY)
        noise = normal(out, seed_low, seed_high, draw_low, draw_high)
        total += std * noise
        tl.store(factor + out, noise / (2 * std), kept)
    tl.store(y + out, total, kept)


# grad_X_J = Σ_I W_IJ' G_I over the existing blocks I of block column J;
# LRT, with H = G∘factor: grad_X_J = Σ_I M_IJ' G_I + 2 X_J ∘ Σ_I V_IJ' H_I.
@triton.jit
def _transposed(
    grad, x, mean, variance, factor, grad_x, crow, block_crow, block_row, block_t_crow, block_t_perm,
    rows, cols, batch,
    LRT: tl.constexpr, SIDE: tl.constexpr, WHOLE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    inside = tl.arange(0, SIDE)
    col = tl.program_id(0) * SIDE + inside
    b = tl.program_id(1) * TILE + tl.arange(0, TILE)
    total = tl.zeros([SIDE, TILE], tl.float32)
    spread = tl.zeros([SIDE, TILE], tl.float32)
    for step in range(tl.load(block_t_crow + tl.program_id(0)), tl.load(block_t_crow + tl.program_id(0) + 1)):
        block = tl.load(block_t_perm + step)
        block_i = tl.load(block_row + block)
        row = block_i * SIDE + inside
        start = _starts(crow, row, rows, SIDE, WHOLE)
        place = start[:, None] + (block - tl.load(block_crow + block_i)) * SIDE + inside
        there = (row < rows)[:, None] & (col < cols)
        at = row.to(tl.int64)[:, None] * batch + b
        kept = (row < rows)[:, None] & (b < batch)
        g = tl.load(grad + at, kept, 0.0)
        total = tl.dot(tl.trans(tl.load(mean + place, there, 0.0)), g, total, input_precision=PRECISION)
        if LRT:
            h = g * tl.load(factor + at, kept, 0.0)
            value = tl.trans(tl.load(variance + place, there, 0.0))
            spread = tl.dot(value, h, spread, input_precision=PRECISION)
    out = col.to(tl.int64)[:, None] * batch + b
    kept = (col < cols)[:, None] & (b < batch)
    if LRT:
        total += 2 * tl.load(x + out, kept, 0.0) * spread
    tl.store(grad_x + out, total, kept)


# grad_W_IJ = G_I X_J' for the existing blocks;
# LRT: the same for M, and ∂L/∂log Σ_IJ = 2 V_IJ ∘ (H_I (X_J∘X_J)').
@triton.jit
def _sampled(
    grad, x, variance, factor, grad_mean, grad_log_std, crow, block_crow, block_row, block_col,
    rows, cols, batch,
    LRT: tl.constexpr, SIDE: tl.constexpr, WHOLE: tl.constexpr, TILE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    inside = tl.arange(0, SIDE)
    block = tl.program_id(0)
    block_i = tl.load(block_row + block)
    row = block_i * SIDE + inside
    col = tl.load(block_col + block) * SIDE + inside
    total = tl.zeros([SIDE, SIDE], tl.float32)
    spread = tl.zeros([SIDE, SIDE], tl.float32)
    for first in range(0, batch, TILE):
        b = first + tl.arange(0, TILE)
        at = row.to(tl.int64)[:, None] * batch + b
        kept = (row < rows)[:, None] & (b < batch)
        g = tl.load(grad + at, kept, 0.0)
        seen_at = col.to(tl.int64)[:, None] * batch + b
        seen = tl.trans(tl.load(x + seen_at, (col < cols)[:, None] & (b < batch), 0.0))
        total = tl.dot(g, seen, total, input_precision=PRECISION)
        if LRT:
            h = g * tl.load(factor + at, kept, 0.0)
            spread = tl.dot(h, seen * seen, spread, input_precision=PRECISION)
    start = _starts(crow, row, rows, SIDE, WHOLE)
    place = start[:, None] + (block - tl.load(block_crow + block_i)) * SIDE + inside
    there = (row < rows)[:, None] & (col < cols)
    tl.store(grad_mean + place, total, there)
    if LRT:
        spread *= 2 * tl.load(variance + place, there, 0.0)
        tl.store(grad_log_std + place, spread, there)


def linear(x: Tensor, values: Tensor, index: BlockIndex, side: int) -> Tensor:
    """``x [B, I] -> [B, O]``, returned as the transpose of a contiguous ``[O, B]``."""
    return _run_forward(x, values, None, (0, 0, 0, 0), index, side)[0]


def lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, index: BlockIndex, side: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, factor, variance), as :func:`szilard.sparse.triton_kernels.lrt_linear`."""
    variance = (2 * log_std).exp()
    return *_run_forward(x, mean, variance, words(key), index, side), variance


def linear_backward(
    grad: Tensor, x: Tensor, values: Tensor, index: BlockIndex, side: int, wants_x: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`linear` for ``x`` (empty if not needed) and ``values``."""
    return _run_backward(grad, x, values, None, None, index, side, wants_x)[:2]


def lrt_linear_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    factor: Tensor,
    index: BlockIndex,
    side: int,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`lrt_linear` for ``x`` (empty if not needed), ``mean`` and ``log_std``."""
    return _run_backward(grad, x, mean, variance, factor, index, side, wants_x)


def _run_forward(
    x: Tensor, mean: Tensor, variance: Tensor | None, key: Sequence[int], index: BlockIndex, side: int
) -> tuple[Tensor, Tensor]:
    seen = x.t().contiguous()
    lrt, v = (False, mean) if variance is None else (True, variance)
    y = x.new_empty(index.crow.numel() - 1, x.shape[0])
    factor = torch.empty_like(y) if lrt else y
    tile, grid = tiles(index.block_crow.numel() - 1, x.shape[0], _most(side))
    sizes = (len(y), *seen.shape)
    how = (lrt, side, len(seen) % side == 0, tile, _precision())
    _forward[grid](
        seen, mean, v, y, factor, index.crow, index.block_crow, index.block_col, *sizes, *key, *how
    )
    return y.t(), factor.t()


def _run_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor | None,
    factor: Tensor | None,
    index: BlockIndex,
    side: int,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    g, seen = grad.t().contiguous(), x.t().contiguous()
    lrt, v = (False, mean) if variance is None else (True, variance)
    f = g if factor is None else factor.t().contiguous()
    grad_x = torch.empty_like(seen) if wants_x else x.new_empty(0, 0)
    grad_mean = torch.empty_like(mean)
    grad_log_std = torch.empty_like(mean) if lrt else grad_mean
    crow, block_crow, block_row, block_col, block_t_crow, block_t_perm = index
    tile, grid = tiles(block_t_crow.numel() - 1, x.shape[0], _most(side))
    how = (len(g), *seen.shape, lrt, side, len(seen) % side == 0, tile, _precision())
    if wants_x:
        _transposed[grid](
            g, seen, mean, v, f, grad_x, crow, block_crow, block_row, block_t_crow, block_t_perm, *how
        )
    _sampled[(block_row.numel(),)](
        g, seen, v, f, grad_mean, grad_log_std, crow, block_crow, block_row, block_col, *how
    )
    return grad_x.t(), grad_mean, grad_log_std


def _precision() -> str:
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _most(side: int) -> int:
    """The most examples for a program: its two accumulators ``[side, examples]`` stay within 64 registers a thread."""
    return min(128, 4096 // side)
