"""Orthogonal matching pursuit: one entry a layer, then least squares on all that are there (Pati et al. 1993)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.solver import Solver
from szilard.solve.state import State

_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
_DEPENDENT = {torch.float32: 1e-4, torch.float64: 1e-8}  # norm of what is new in a column, as a share of it


class Memory(NamedTuple):
    """What orthogonal matching pursuit carries: for each sample a QR decomposition of the columns that it took."""

    taken: Tensor  # [B, k] indices of columns; 0 where a sample had stopped
    Q: Tensor  # [B, k, m] orthonormal rows; zero where a sample had stopped
    R: Tensor  # [B, k, k] upper triangular, 1 on the diagonal where a sample had stopped
    along: Tensor  # [B, k] products of the rows of Q with b
    free: Tensor  # [B, n] columns that may be taken
    active: Tensor  # [B] samples that have not stopped


class OMP(Solver):
    """Adds to each sample the column of A that its residual is most correlated with, and fits all entries again.

    A sample stops when its residual is within the tolerance, or when the best column depends on those that it has. With
    few entries and little noise the answer is often exact. A layer costs a product with Aᵀ and one with the columns
    that were taken; entries of x need as many layers.

    Args:
        A: matrix ``[m, n]``; its columns are scaled to unit norm inside.
        layers: the most entries of a sample; None: min(m, n).
        tolerance: ‖b - A x‖₂ / ‖b‖₂ at which a sample stops; None: 1e-5 in float32, 1e-10 in float64.
        noise: ‖b - A x‖₂ at which a sample stops, if that is more.
    """

    name = "omp"
    summary = "one entry a layer, then least squares on those that are there"
    equivariant = True
    greedy = True
    unit_columns = True
    needs_matrix = True

    def __init__(
        self, A: Any, layers: int | None = None, tolerance: float | None = None, noise: float = 0.0
    ) -> None:
        super().__init__(A, 0 if layers is None else layers)
        most = min(self.operator.shape)
        self.layers = most if layers is None else min(layers, most)
        self.tolerance = _TOLERANCE[self.operator.dtype] if tolerance is None else tolerance
        self.noise = noise
        if self.tolerance < 0 or noise < 0:
            raise SzilardError(f"tolerance={tolerance} and noise={noise}; give numbers that are not negative")

    def start(self, state: State) -> Memory:
        B, m = state.b.shape
        b = state.b
        return Memory(
            torch.zeros(B, 0, dtype=torch.long, device=b.device),
            b.new_zeros(B, 0, m),
            b.new_zeros(B, 0, 0),
            b.new_zeros(B, 0),
            torch.ones(state.x.shape, dtype=torch.bool, device=b.device),
            self._unexplained(state.residual, b),
        )

    def finished(self, state: State) -> bool:
        return not bool(state.memory.active.any())

    def step(self, state: State) -> State:
        memory: Memory = state.memory
        B, k = memory.taken.shape
        rows = memory.active.nonzero()[:, 0]
        residual, before = state.residual[rows], memory.Q[rows]
        fits = self.operator.adjoint(residual).abs()
        best = fits.where(memory.free[rows], -1.0).argmax(1)
        columns = self.operator.matrix(self.name, self.without_matrix).t()[best]

        # Gram-Schmidt, twice: after the second pass the rows of Q are orthogonal to working precision.
        upper = (before @ columns[:, :, None])[:, :, 0]
        new = columns - (upper[:, None] @ before)[:, 0]
        again = (before @ new[:, :, None])[:, :, 0]
        new = new - (again[:, None] @ before)[:, 0]
        upper, size = upper + again, new.norm(dim=1)
        good = size > _DEPENDENT[size.dtype]
        rows, best, new, upper, size = (
            rows[good],
            best[good],
            new[good] / size[good, None],
            upper[good],
            size[good],
        )
        active = torch.zeros_like(memory.active).index_fill_(0, rows, True)
        along = -(residual[good] * new).sum(1)

        R = torch.nn.functional.pad(memory.R, (0, 1, 0, 1))
        R[:, k, k] = 1.0
        R[rows, :k, k] = upper
        R[rows, k, k] = size
        taken = torch.nn.functional.pad(memory.taken, (0, 1)).index_put_(
            (rows, torch.full_like(rows, k)), best
        )
        Q = torch.cat(
            [memory.Q, state.b.new_zeros(B, 1, state.b.shape[1]).index_copy_(0, rows, new[:, None])], 1
        )
        products = torch.cat([memory.along, state.b.new_zeros(B, 1).index_copy_(0, rows, along[:, None])], 1)
        free = memory.free.clone()
        free[rows, best] = False

        x, residual = state.x.clone(), state.residual.clone()
        z = torch.linalg.solve_triangular(R[rows], products[rows, :, None], upper=True)[:, :, 0]
        x[rows] = x.new_zeros(len(rows), x.shape[1]).scatter_(1, taken[rows], z)
        residual[rows] += along[:, None] * new
        active = active & self._unexplained(residual, state.b)
        return State(
            x, state.x, residual, state.layer + 1, state.b, Memory(taken, Q, R, products, free, active)
        )

    def _unexplained(self, residual: Tensor, b: Tensor) -> Tensor:
        return residual.norm(dim=1) > (self.tolerance * b.norm(dim=1)).clamp_min(self.noise)
