"""Steps for rows and columns: finer if an error costs more.

At a high rate, the best step for an entry of curvature h is √(12 λ / (h ln 2)). For a matrix h is about G_r a_c, with
a_c the curvature of column c after later columns compensate its error. One step for all entries then costs ½ log2 of
the arithmetic over the geometric mean of h more bits per entry. Factors of rows G_r^-½ and of columns a_c^-½, on the
file's grid, save these bits. The factors themselves cost bits, and if most entries are zero, one step is as good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from szilard.coding import Encoder, Model
from szilard.compression import sequential_rounding
from szilard.compression.draft import ROWS, Quantised
from szilard.compression.hooked import Curvature

SOME = 512  # rows on which the choices of factors are tried
LEAST = 1e-6  # of the mean G: smaller values count as this
MANY = 1 << 21  # most entries that are copied to float64 at a time
FURTHEST = 127  # largest code of a factor


@dataclass(frozen=True)
class Scaling:
    """How a matrix is rounded.

    Attributes:
        rows, cols: whether rows and columns have factors.
        exponent: α of G^α, which is used in place of G, with the same mean.
    """

    rows: bool = False
    cols: bool = False
    exponent: float = 1.0


PLAIN = Scaling()
SCALED = (Scaling(rows=True), Scaling(rows=True, cols=True), Scaling(cols=True))
GAIN = 0.05  # share of ΔL + λ · bits that factors must save: less is within the error of the prediction


def quantise(
    weight: Tensor,
    curvature: Curvature,
    lam: float,
    roots: Sequence[Tensor],
    scaling: Scaling,
    *,
    passes: int = 2,
) -> Quantised:
    """Integers for a weight ``[rows, cols]``.

    Args:
        lam: λ, nats per bit.
        roots: :func:`szilard.compression.sequential_rounding.inverse_roots` of the curvature's A.
        passes: of :func:`szilard.compression.sequential_rounding.quantise`.
    """
    outputs = flattened(curvature.outputs.double(), scaling.exponent)
    if not scaling.rows and not scaling.cols:
        return sequential_rounding.quantise(
            weight, curvature.inputs, outputs, lam, passes=passes, roots=roots
        )
    outputs = outputs.clamp_min(LEAST * float(outputs.mean())).clamp_min(1e-30)
    row = _codes(outputs.log()) if scaling.rows else None
    col = _codes(_left(roots).log().mean(0)) if scaling.cols else None
    rows = None if row is None else _factors(row)
    cols = None if col is None else _factors(col)
    if rows is not None:
        outputs = outputs * rows.square()
    if cols is not None:
        # (D A D)^-1 = D^-1 A^-1 D^-1, and U D^-1 is still upper triangular.
        roots = [root / cols for root in roots]
    divided = Divided(weight if weight.numel() > MANY else weight.double(), rows, cols)
    made = sequential_rounding.quantise(divided, curvature.inputs, outputs, lam, passes=passes, roots=roots)
    return Quantised(made.levels, made.step, row, col)


@dataclass(frozen=True, eq=False)
class Divided:
    """A matrix ``[rows, cols]`` divided by factors of its rows and columns, computed for some rows at a time."""

    weight: Tensor
    rows: Tensor | None
    cols: Tensor | None

    @property
    def shape(self) -> torch.Size:
        return self.weight.shape

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, part: slice) -> Tensor:
        found = self.weight[part]
        if self.rows is not None:
            found = found / self.rows[part, None].to(found)
        if self.cols is None:
            return found
        cols = self.cols.to(found)
        return (
            found / cols if self.rows is None else found.div_(cols)
        )  # in place, because it is already a copy


def flattened(outputs: Tensor, exponent: float) -> Tensor:
    """G^α, scaled to the mean of G, ``[rows]``."""
    if exponent == 1:
        return outputs
    mean = outputs.mean().clamp_min(1e-300)
    powers = (outputs / mean) ** exponent if exponent else torch.ones_like(outputs)
    return powers * (mean / powers.mean())


def best_scaling(weight: Tensor, curvature: Curvature, lam: float, roots: Sequence[Tensor]) -> Scaling:
    """The choice with the smallest predicted ΔL + λ · bits on some of the rows; factors only for a clear gain."""
    if len(roots) == 1 and len(weight) > SOME:
        some = torch.linspace(0, len(weight) - 1, SOME).long()
        part, known = weight[some], replace(curvature, outputs=curvature.outputs[some])
    else:
        part, known = weight, curvature
    share = len(weight) / max(1, len(part))
    best, least = PLAIN, math.inf
    for scaling in (PLAIN, *SCALED):
        made = quantise(part, known, lam, roots, scaling, passes=1)
        cost = predicted(part, made, known) + lam * (rate(made.levels) + side(made.row))
        total = share * cost + lam * side(made.col)
        if scaling == PLAIN:
            total *= 1 - GAIN
        if total < least:
            best, least = scaling, total
    return best


def predicted(weight: Tensor, made: Quantised, curvature: Curvature) -> float:
    """Predicted ΔL = ½ Σ_r G_r e_r A e_rᵀ of the errors e, in nats."""
    values = made.dense(weight if weight.numel() > MANY else weight.double())
    groups = len(curvature.inputs)
    size, some = len(weight) // groups, max(1, MANY // weight.shape[1])
    total = 0.0
    for g, a in enumerate(curvature.inputs.double()):
        for first in range(g * size, (g + 1) * size, some):
            part = slice(first, min(first + some, (g + 1) * size))
            e = values[part].double() - weight[part].double()
            lost = (e @ a * e).sum(1) if a.dim() == 2 else e.square() @ a
            total += float(lost @ curvature.outputs[part].double()) / 2
    return total


def rate(levels: np.ndarray) -> float:
    """Bits of a matrix of levels in a file."""
    return float(Encoder().rate(levels, Model.HISTORY))


def side(codes: np.ndarray | None) -> float:
    """Approximate bits of factors."""
    if codes is None:
        return 0.0
    wide = codes.astype(np.int32)
    return float(Encoder().rate((wide - int(np.median(wide)))[None]))


def _left(roots: Sequence[Tensor]) -> Tensor:
    """Curvature of each column after later columns compensate its errors, ``[groups, cols]``."""
    return torch.stack([1 / (root.diagonal() if root.dim() == 2 else root).square() for root in roots])


def _codes(logs: Tensor) -> np.ndarray | None:
    """Codes of the factors h^-½ over their geometric mean, from ln h; None if all are 1.

    If some would exceed the largest code, they are relative to the middle of their range instead.
    """
    octaves = -0.5 / math.log(2) * (logs - logs.mean())
    if len(octaves) and ROWS * float(octaves.abs().max()) > FURTHEST:
        octaves = octaves - (octaves.max() + octaves.min()) / 2
    codes: np.ndarray = (ROWS * octaves).round().clamp(-FURTHEST, FURTHEST).to(torch.int8).numpy()
    return codes if codes.any() else None


def _factors(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(2.0 ** (codes.astype(np.float64) / ROWS))
