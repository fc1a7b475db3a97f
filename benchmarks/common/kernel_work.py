"""The layers of the kernel benchmark, and the FLOPs and bytes of each kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

BATCH = 128
KINDS = ("product", "product backward", "LRT", "LRT backward")


@dataclass(frozen=True)
class Shape:
    """A layer: ``weight`` [O, I] on 128 inputs, or [O, C, 3, 3] on 128 images of ``side`` x ``side``, padded by 1."""

    name: str
    weight: tuple[int, ...]
    side: int = 0

    @property
    def is_conv(self) -> bool:
        return len(self.weight) == 4

    @property
    def positions(self) -> int:
        """Outputs of one row of the weight for one example."""
        return self.side**2 if self.is_conv else 1

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (BATCH, self.weight[1], *([self.side] * 2 if self.is_conv else []))

    @property
    def y_shape(self) -> tuple[int, ...]:
        return (BATCH, self.weight[0], *([self.side] * 2 if self.is_conv else []))


SHAPES = (
    Shape("linear 1024x1024", (1024, 1024)),
    Shape("linear 784x512", (512, 784)),
    Shape("linear 2048x2048", (2048, 2048)),
    Shape("conv 16x16, 32x32", (16, 16, 3, 3), 32),
    Shape("conv 32x32, 16x16", (32, 32, 3, 3), 16),
    Shape("conv 64x64, 8x8", (64, 64, 3, 3), 8),
)


@dataclass(frozen=True)
class Work:
    """FLOPs of one call, and bytes if every array is read or written once (float32 and int32: 4 bytes)."""

    flops: float
    moved: float


def work(kind: str, shape: Shape, nnz: int) -> Work:
    """FLOPs and bytes, with n existing entries, P positions, batch size B, input x and output y:

    product            y = W x                                  2 n B P FLOPs; reads x, value and column of each
                                                                entry, writes y
    product backward   gx = W'g, gw_ij = Σ g_i x_j              4 n B P; reads g, x, value, column, transposed
                                                                row and place; writes gx, gw
    LRT                y = M x + sqrt(V x²) ε                   4 n B P; reads x, mean, log σ, column; writes y,
                                                                ε / 2s, variance
    LRT backward       gx = M'g + 2 x (V'h),                    8 n B P; reads g, x, ε / 2s, mean, variance,
                       gm = Σ g x, gρ = 2 V Σ h x²              column, row, place; writes gx, gm, gρ
    """
    x, y = math.prod(shape.x_shape), math.prod(shape.y_shape)
    flops, activations, entry = {
        "product": (2, x + y, 2),
        "product backward": (4, y + 2 * x, 5),
        "LRT": (4, x + 2 * y, 4),
        "LRT backward": (8, 2 * y + 2 * x, 7),
    }[kind]
    return Work(flops * nnz * BATCH * shape.positions, 4 * (activations + entry * nnz))
