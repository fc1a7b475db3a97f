"""The linear products of :mod:`szilard.sparse.ops` as Triton kernels, for float32 on a GPU.

Activations are feature-major, ``[features, batch]``: neighbouring lanes hold neighbouring examples, so every load is
coalesced with any support. A program computes one row for a tile of the batch and adds in a fixed order (no atomics, no
autotuning), so the same inputs give the same bits in every run.

Importing this file imports Triton; :mod:`szilard.kernels.dispatch` decides when.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.random import philox_impl

from szilard.sparse.portable import conv, conv_backward, lrt_conv, lrt_conv_backward
from szilard.sparse.support import Index

__all__ = [  # what szilard.sparse.ops needs of an implementation; convolutions are those of torch here
    "conv",
    "conv_backward",
    "linear",
    "linear_backward",
    "lrt_conv",
    "lrt_conv_backward",
    "lrt_linear",
    "lrt_linear_backward",
]

_TINY = tl.constexpr(1e-8)  # added to a variance before its root, whose slope at zero is infinite
_ROUNDS = tl.constexpr(7)
_KEY = ["seed_low", "seed_high", "draw_low", "draw_high"]  # numbers that must not be compiled in as constants
_ENTRIES = 32  # entries of a row read at a time


@triton.jit(do_not_specialize=_KEY)
def normal(element, seed_low, seed_high, draw_low, draw_high):
    """Standard normal numbers, a pure function of (seed, draw, element).

    Element 64 k + 16 w + l is word w of Philox-4x32-7 at counter (16 k + l, draw), by the Box-Muller transform: radius
    sqrt(-2 ln u), u from 24 bits, and an angle in [-π/4, π/4) from 30 bits, reflected by two more. The kernels for the
    CPU make other numbers.
    """
    # Uses shifts, and polynomials where the library functions would take a slow path, to save registers.
    counter = (element >> 6 << 4) + (element & 15)
    word = (element >> 4).to(tl.int32) & 3
    zero = counter.to(tl.uint32) * 0
    c0, c1, c2, c3 = philox_impl(
        counter.to(tl.uint32), (counter >> 32).to(tl.uint32),
        zero + draw_low.to(tl.uint32, bitcast=True), zero + draw_high.to(tl.uint32, bitcast=True),
        seed_low.to(tl.uint32, bitcast=True), seed_high.to(tl.uint32, bitcast=True), _ROUNDS,
    )  # fmt: skip
    bits, turn = tl.where(word < 2, c0, c2), tl.where(word < 2, c1, c3)
    u = ((bits >> 8).to(tl.float32) + 0.5) * 5.9604644775390625e-08  # 2^-24
    angle = (turn << 2).to(tl.int32, bitcast=True).to(tl.float32) * 3.6572954e-10  # 2^-31 π/4
    square = angle * angle
    sine = ((-1 / 5040 * square + 1 / 120) * square - 1 / 6) * square * angle + angle
    cosine = (((1 / 40320 * square - 1 / 720) * square + 1 / 24) * square - 0.5) * square + 1
    cosine = tl.where((turn & 0x80000000) != 0, -cosine, cosine)
    swap = (turn & 0x40000000) != 0
    return tl.sqrt(-2.0 * tl.log(u)) * tl.where(((word & 1) == 0) == swap, sine, cosine)


# y_ib = Σ_j w_ij x_jb, over the existing entries of row i;
# LRT: y_ib = Σ_j μ_ij x_jb + s_ib ε_ib,  s² = Σ_j σ²_ij x²_jb + tiny,  factor = ε / (2 s).
@triton.jit(do_not_specialize=_KEY)
def _forward(
    x, mean, variance, y, factor, crow, col, batch, seed_low, seed_high, draw_low, draw_high,
    LRT: tl.constexpr, ENTRIES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    b = tl.program_id(1) * TILE + tl.arange(0, TILE)
    end = tl.load(crow + row + 1)
    total = tl.zeros([TILE], tl.float32)
    spread = tl.zeros([TILE], tl.float32)
    for first in range(tl.load(crow + row), end, ENTRIES):
        place = first + tl.arange(0, ENTRIES)
        j = tl.load(col + place, place < end, 0).to(tl.int64)
        seen = tl.load(x + j[:, None] * batch + b, (place < end)[:, None] & (b < batch), 0.0)
        total += tl.sum(tl.load(mean + place, place < end, 0.0)[:, None] * seen, 0)
        if LRT:
            spread += tl.sum(tl.load(variance + place, place < end, 0.0)[:, None] * seen * seen, 0)
    out = row.to(tl.int64) * batch + b
    if LRT:
        std = tl.sqrt(spread + _TINY)
        noise = normal(out, seed_low, seed_high, draw_low, draw_high)
        total += std * noise
        tl.store(factor + out, noise / (2 * std), b < batch)
    tl.store(y + out, total, b < batch)


# grad_x_jb = Σ_i g_ib w_ij, over the existing entries of column j;
# LRT, with h = g factor: grad_x_jb = Σ_i g_ib μ_ij + 2 x_jb Σ_i h_ib σ²_ij.
@triton.jit
def _transposed(
    grad, x, mean, variance, factor, grad_x, t_crow, t_col, t_perm, batch,
    LRT: tl.constexpr, ENTRIES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0)
    b = tl.program_id(1) * TILE + tl.arange(0, TILE)
    end = tl.load(t_crow + column + 1)
    total = tl.zeros([TILE], tl.float32)
    spread = tl.zeros([TILE], tl.float32)
    for first in range(tl.load(t_crow + column), end, ENTRIES):
        place = first + tl.arange(0, ENTRIES)
        i = tl.load(t_col + place, place < end, 0).to(tl.int64)
        value = tl.load(t_perm + place, place < end, 0)
        at = i[:, None] * batch + b
        inside = (place < end)[:, None] & (b < batch)
        g = tl.load(grad + at, inside, 0.0)
        total += tl.sum(tl.load(mean + value, place < end, 0.0)[:, None] * g, 0)
        if LRT:
            h = g * tl.load(factor + at, inside, 0.0)
            spread += tl.sum(tl.load(variance + value, place < end, 0.0)[:, None] * h, 0)
    out = column.to(tl.int64) * batch + b
    if LRT:
        total += 2 * tl.load(x + out, b < batch, 0.0) * spread
    tl.store(grad_x + out, total, b < batch)


# grad_w_ij = Σ_b g_ib x_jb for the existing entries of row i;
# LRT: the same for μ, and ∂L/∂log σ_ij = 2 σ²_ij Σ_b h_ib x²_jb.
@triton.jit
def _sampled(
    grad, x, variance, factor, grad_mean, grad_log_std, crow, col, batch,
    LRT: tl.constexpr, ENTRIES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    end = tl.load(crow + row + 1)
    for first in range(tl.load(crow + row), end, ENTRIES):
        place = first + tl.arange(0, ENTRIES)
        j = tl.load(col + place, place < end, 0).to(tl.int64)
        total = tl.zeros([ENTRIES], tl.float32)
        spread = tl.zeros([ENTRIES], tl.float32)
        for start in range(0, batch, TILE):
            b = start + tl.arange(0, TILE)
            at = row.to(tl.int64) * batch + b
            g = tl.load(grad + at, b < batch, 0.0)
            seen = tl.load(x + j[:, None] * batch + b, (place < end)[:, None] & (b < batch), 0.0)
            total += tl.sum(seen * g, 1)
            if LRT:
                spread += tl.sum(seen * seen * (g * tl.load(factor + at, b < batch, 0.0)), 1)
        tl.store(grad_mean + place, total, place < end)
        if LRT:
            spread *= 2 * tl.load(variance + place, place < end, 0.0)
            tl.store(grad_log_std + place, spread, place < end)


def linear(x: Tensor, values: Tensor, index: Index) -> Tensor:
    """``x [B, I] -> [B, O]``, returned as the transpose of a contiguous ``[O, B]``."""
    seen = x.t().contiguous()
    rows, batch = index.crow.numel() - 1, x.shape[0]
    y = x.new_empty(rows, batch)
    tile, grid = tiles(rows, batch)
    _forward[grid](
        seen, values, values, y, y, index.crow, index.col, batch, 0, 0, 0, 0, False, _ENTRIES, tile
    )
    return y.t()


def linear_backward(
    grad: Tensor, x: Tensor, values: Tensor, index: Index, wants_x: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`linear` for ``x`` (empty if not needed) and ``values``."""
    return _backward(grad, x, values, None, None, index, wants_x)[:2]


def lrt_linear(
    x: Tensor, mean: Tensor, log_std: Tensor, key: Tensor, index: Index
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, factor, variance): outputs drawn by local reparametrisation, ε / (2 s), and σ² of each entry.

    Args:
        key: int64 ``[2]`` on the CPU, (seed, draw) of the noise.
    """
    seen, variance = x.t().contiguous(), (2 * log_std).exp()
    rows, batch = index.crow.numel() - 1, x.shape[0]
    y, factor = x.new_empty(rows, batch), x.new_empty(rows, batch)
    tile, grid = tiles(rows, batch)
    _forward[grid](
        seen, mean, variance, y, factor, index.crow, index.col, batch, *words(key), True, _ENTRIES, tile
    )
    return y.t(), factor.t(), variance


def lrt_linear_backward(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, factor: Tensor, index: Index, wants_x: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`lrt_linear` for ``x`` (empty if not needed), ``mean`` and ``log_std``."""
    return _backward(grad, x, mean, variance, factor, index, wants_x)


def _backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor | None,
    factor: Tensor | None,
    index: Index,
    wants_x: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    g, seen = grad.t().contiguous(), x.t().contiguous()
    lrt, v = (False, mean) if variance is None else (True, variance)
    f = g if factor is None else factor.t().contiguous()
    grad_x = torch.empty_like(seen) if wants_x else x.new_empty(0, 0)
    grad_mean = torch.empty_like(mean)
    grad_log_std = torch.empty_like(mean) if lrt else grad_mean
    tile, grid = tiles(len(seen), x.shape[0])
    how = (x.shape[0], lrt, _ENTRIES, tile)
    if wants_x:
        _transposed[grid](g, seen, mean, v, f, grad_x, index.t_crow, index.t_col, index.t_perm, *how)
    _sampled[(len(g),)](g, seen, v, f, grad_mean, grad_log_std, index.crow, index.col, *how)
    return grad_x.t(), grad_mean, grad_log_std


def tiles(rows: int, batch: int, most: int = 128) -> tuple[int, tuple[int, int]]:
    """(examples for a program, grid); the examples are a power of two from 16 to ``most``."""
    tile = min(most, max(16, triton.next_power_of_2(batch)))
    return tile, (rows, triton.cdiv(batch, tile))


def words(key: Tensor) -> list[int]:
    """A key as four 32-bit words, signed, so that every key compiles to the same kernel."""
    halves = [half for number in key.tolist() for half in (number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF)]
    return [half - (half >> 31 << 32) for half in halves]
