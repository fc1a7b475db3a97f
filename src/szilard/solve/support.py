r"""Least squares on the support of a code, in float64, and what speaks for that support.

z minimises ‖b - A_S z‖ over codes whose entries lie in S; conjugate gradients on A_SᵀA_S find it with two products a
step, so that operators will do. Two things are asked of S: that its columns are independent, and that a support of its
size would not reach the same residual by chance.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from szilard.solve.operators import Matrix, Operator

_STEPS = 60  # of conjugate gradients, at most
_CONVERGED = {torch.float32: 1e-6, torch.float64: 1e-11}  # ‖A_Sᵀ(b - A z)‖ / ‖A_Sᵀ b‖
_BY_MATRIX = 1e-3  # least singular value of independent columns, as a share of a column's norm
_BY_PRODUCTS = 0.1  # the same, as a share of the largest singular value
_INVERSE_STEPS = 6  # of the iteration for the smallest singular value, with a matrix
_SPANNED = 1e-9  # what is left of a direction after others are taken out of it, once they span it
_LANCZOS = 40  # steps for it by products, at most
_MOST_NUMBERS = 1 << 24  # in the columns that are gathered at a time


class Fit(NamedTuple):
    """Least squares on supports, for B samples."""

    z: Tensor  #: codes ``[B, n]``, float64
    converged: Tensor  #: ``[B]``, bool
    independent: Tensor  #: whether the columns on the support are ``[B]``, bool
    steps: Tensor  #: of conjugate gradients ``[B]``, int64
    gain: Tensor  #: √trace (A_SᵀA_S)⁻¹: ‖z‖ moves by this times the noise's deviation ``[B]``; 0 if not known


class Supports:
    """Fits on supports for one operator.

    A matrix is used in float64. The Cholesky factor of A_SᵀA_S shows whether columns are independent (the smallest
    singular value must be more than 1e-3 of a column's norm), and makes conjugate gradients a step or two. Other
    operators are used in their own dtype; singular values come from Lanczos steps, which know the smallest less well:
    it must be more than a tenth of the largest.

    Args:
        operator: A.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = copy.deepcopy(operator).double() if isinstance(operator, Matrix) else operator
        self.dtype = self.operator.dtype
        generator = torch.Generator().manual_seed(0)
        probe = torch.randn(8, operator.shape[0], generator=generator, dtype=torch.float64)
        #: root mean square of the norms of columns, estimated
        self.column_norm = float(self.adjoint(probe.to(operator.device)).square().mean().sqrt())

    def product(self, z: Tensor) -> Tensor:
        """A z in float64."""
        active = float((z != 0).double().mean()) if z.numel() else 0.0
        return self.operator.product(z.to(self.dtype), active).double()

    def adjoint(self, residual: Tensor) -> Tensor:
        """Aᵀ r in float64."""
        return self.operator.adjoint(residual.to(self.dtype)).double()

    def fit(self, x: Tensor, b: Tensor) -> Fit:
        """Least squares on the entries of x ``[B, n]`` that are not zero, from x on; b ``[B, m]``."""
        x, b = x.double(), b.double()
        if not isinstance(self.operator, Matrix):
            return self._by_products(x, b)
        most = int((x != 0).sum(1).max()) if len(x) else 0
        chunk = max(1, _MOST_NUMBERS // max(most * len(b[0]), 1)) if len(x) else 1
        parts = [
            self._by_columns(some, to, self.operator.rows)
            for some, to in zip(x.split(chunk), b.split(chunk), strict=True)
        ]
        return Fit(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _by_columns(self, x: Tensor, b: Tensor, rows: Tensor) -> Fit:
        """The fit with the columns of each support gathered, ``[B, s, m]``."""
        most = max(int((x != 0).sum(1).max()), 1)
        there, which = (x != 0).to(torch.int8).sort(dim=1, descending=True, stable=True)
        there, which = there[:, :most].double(), which[:, :most]
        columns = rows[which] * there[:, :, None]
        gram = columns @ columns.transpose(1, 2)
        # Columns that are not there count as independent of all others.
        gram = gram + torch.diag_embed((1 - there) * self.column_norm**2)
        factor, failed = torch.linalg.cholesky_ex(gram)
        good = (failed == 0)[:, None, None]
        factor = factor.where(good, torch.eye(most, dtype=factor.dtype, device=factor.device))
        v = torch.ones_like(there)[:, :, None]
        for _ in range(_INVERSE_STEPS):
            v = torch.cholesky_solve(v / v.norm(dim=1, keepdim=True), factor)
        smallest = v.norm(dim=1)[:, 0].rsqrt()
        z, converged, steps = _conjugate(
            lambda z: (z[:, None] @ columns)[:, 0],
            lambda r: (columns @ r[:, :, None])[:, :, 0],
            lambda slope: torch.cholesky_solve(slope[:, :, None], factor)[:, :, 0],
            x.gather(1, which),
            b,
            _CONVERGED[self.dtype],
        )
        independent = (failed == 0) & (smallest > _BY_MATRIX * self.column_norm)
        inverse = torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2)
        gain = (inverse * there).sum(1).sqrt()
        return Fit(torch.zeros_like(x).scatter_(1, which, z), converged, independent, steps, gain)

    def _by_products(self, x: Tensor, b: Tensor) -> Fit:
        support = (x != 0).double()
        z, converged, steps = _conjugate(
            self.product,
            lambda r: support * self.adjoint(r),
            lambda slope: slope,
            x,
            b,
            _CONVERGED[self.dtype],
        )
        values = self._ritz(support)
        independent = values[:, 0] > _BY_PRODUCTS**2 * values[:, 1]
        return Fit(z, converged, independent, steps, torch.zeros_like(values[:, 0]))

    def _ritz(self, support: Tensor) -> Tensor:
        """Smallest and largest eigenvalue of A_SᵀA_S, ``[B, 2]``, by Lanczos steps: the smallest is never too small."""
        generator = torch.Generator().manual_seed(1)
        v = torch.randn(support.shape, generator=generator, dtype=torch.float64).to(support.device) * support
        basis = images = support.new_zeros(len(support), 0, support.shape[1])
        for _ in range(min(_LANCZOS, int(support.sum(1).max()) if len(support) else 0)):
            for _ in range(2):
                v = v - ((basis @ v[:, :, None]).transpose(1, 2) @ basis)[:, 0]
            size = v.norm(dim=1, keepdim=True)
            v = (v / size).where(size > _SPANNED * self.column_norm, 0.0)  # nothing is left: add no direction
            basis = torch.cat([basis, v[:, None]], 1)
            v = support * self.adjoint(self.product(v))
            images = torch.cat([images, v[:, None]], 1)
        projected = basis @ images.transpose(1, 2)
        if not projected.shape[1]:
            return support.new_tensor([[1.0, 0.0]]).expand(len(support), 2)
        # Directions that were not added stand for the first one, so that they are not the smallest value.
        missing = (basis.square().sum(2) == 0).double()
        first = projected[:, :1, 0].where(projected[:, :1, 0] > 0, 1.0)
        projected = (projected + projected.transpose(1, 2)) / 2 + torch.diag_embed(missing * first)
        return torch.linalg.eigvalsh(projected)[:, [0, -1]]


def _conjugate(
    product: Callable[[Tensor], Tensor],
    adjoint: Callable[[Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    z: Tensor,
    b: Tensor,
    converged: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Conjugate gradients for least squares, from z on: z, whether it converged, and steps of each sample."""
    rest = b - product(z)
    slope = adjoint(rest)
    aim = converged * adjoint(b).norm(dim=1)
    direction = precondition(slope)
    size = (slope * direction).sum(1)
    steps = torch.zeros(len(b), dtype=torch.long, device=b.device)
    for _ in range(_STEPS):
        going = slope.norm(dim=1) > aim
        if not bool(going.any()):
            break
        image = product(direction)
        length = (size / image.square().sum(1)).where(going, 0.0).nan_to_num(0.0)[:, None]
        z, rest = z + length * direction, rest - length * image
        slope = adjoint(rest).where(going[:, None], slope)
        nearer = precondition(slope)
        before, size = size, (slope * nearer).sum(1)
        direction = nearer + (size / before).where(going, 0.0).nan_to_num(0.0)[:, None] * direction
        steps = steps + going
    return z, slope.norm(dim=1) <= aim, steps


def chance(entries: Tensor, m: int, n: int, share: Tensor) -> Tensor:
    r"""Logarithm of a bound of the chance that some support of this size comes as close to random measurements.

    For a direction of b that is uniform, ‖b - A_S z‖²/‖b‖² has a Beta((m - s)/2, s/2) distribution for each S of s
    entries; there are n over s of them.

    Args:
        entries: s ``[B]``.
        m: measurements.
        n: codes.
        share: ‖b - A_S z‖ / ‖b‖ that is allowed ``[B]``.

    Returns:
        ``[B]``, float64; 0 where s is m or more.
    """
    s = entries.double()
    a, half = ((m - s) / 2).clamp_min(0.5), s / 2
    x = share.double().square().clamp(1e-300, 1.0)
    supports = math.lgamma(n + 1) - torch.lgamma(s + 1) - torch.lgamma(n - s + 1)
    beta = torch.lgamma(a) + torch.lgamma(half) - torch.lgamma(a + half)
    # ∫ t^(a-1) (1-t)^(half-1) dt ≤ x^a / a, times 1/√(1-x) where half is a half.
    edge = torch.where(s < 2, -0.5 * (1 - x).clamp_min(1e-300).log(), 0.0)
    close = (a * x.log() - a.log() - beta + edge).where(s > 0, torch.where(x < 1, -torch.inf, 0.0))
    return (supports + close).clamp_max(0.0).where(s < m, 0.0)
