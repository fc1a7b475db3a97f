r"""The analytic weight of ALISTA and HyperLISTA, in closed form.

The weight W minimises ‖Wᵀ A‖_F subject to w_iᵀ a_i = 1 (Liu et al. 2019). The problem separates by column: minimise
wᵀ (A Aᵀ) w subject to wᵀ a_i = 1, so that

    w_i = (A Aᵀ)⁻¹ a_i / d_i,   d_i = a_iᵀ (A Aᵀ)⁻¹ a_i.

Published code finds it by projected gradients. It follows that the pseudo-inverse is A⁺ = diag(d) Wᵀ.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError

SINGULAR = 1e-12  # smallest over largest eigenvalue of A Aᵀ, below which its inverse is noise
SYMMETRIC_STEPS = 400


class Weight(NamedTuple):
    """A weight for a matrix A ``[m, n]``."""

    W: Tensor  #: ``[m, n]``; w_iᵀ a_i = 1
    diagonal: Tensor  #: d ``[n]``, the diagonal of the projection A⁺ A; A⁺ = diag(d) Wᵀ if W is analytic
    coherence: float  #: the largest |w_iᵀ a_j|, i ≠ j


class OperatorWeight(nn.Module):
    """The analytic weight W of an operator with columns of unit norm, as solvers take it.

    Attributes:
        diagonal: d ``[n]``; diag(d) Wᵀ is the pseudo-inverse, or stands for it.
        coherence: the largest |w_iᵀ a_j|, i ≠ j.
    """

    diagonal: Tensor
    coherence: float

    def transposed(self, residual: Tensor) -> Tensor:
        """Wᵀ r for every sample: ``[B, m] -> [B, n]``."""
        raise NotImplementedError


class MatrixWeight(OperatorWeight):
    """The analytic weight of a matrix ``[m, n]`` (:func:`analytic_weight`)."""

    W: Tensor

    def __init__(self, A: Tensor, damping: float = 0.0) -> None:
        super().__init__()
        W, diagonal, self.coherence = analytic_weight(A, damping)
        self.register_buffer("W", W)
        self.register_buffer("diagonal", diagonal)

    def transposed(self, residual: Tensor) -> Tensor:
        return residual @ self.W


def analytic_weight(A: Tensor, damping: float = 0.0) -> Weight:
    """The weight of least coherence in the Frobenius norm.

    Args:
        A: ``[m, n]`` with columns of unit norm.
        damping: added to the diagonal of A Aᵀ, as a share of its mean, for matrices whose rank is below m. The weight
            stays feasible (w_iᵀ a_i = 1), and diag(d) Wᵀ is the damped pseudo-inverse.

    Raises:
        SzilardError: if A Aᵀ is singular, and there is no damping.
    """
    wide = A.double()
    gram = wide @ wide.t()
    if damping:
        gram = gram + damping * gram.diagonal().mean() * torch.eye(
            len(gram), dtype=gram.dtype, device=gram.device
        )
    factor, failed = torch.linalg.cholesky_ex(gram)
    spread = torch.linalg.eigvalsh(gram)
    if failed.item() or spread[0] <= SINGULAR * spread[-1]:
        rank = int((spread > SINGULAR * spread[-1]).sum())
        raise SzilardError(
            f"A has {A.shape[0]} rows and rank {rank} (least eigenvalue of A Aᵀ {float(spread[0] / spread[-1]):.0e} of "
            "the largest), so that the closed form of its weight does not exist; remove dependent rows, or give "
            "damping=1e-6"
        )
    solved = torch.cholesky_solve(wide, factor)
    diagonal = (wide * solved).sum(0)
    W = solved / diagonal
    return Weight(W.to(A.dtype), diagonal.to(A.dtype), _coherence(W, wide))


def symmetric_weight(A: Tensor) -> tuple[Tensor, Weight]:
    """A square matrix G, such that the columns of G A have unit norm and are nearly orthogonal, and the weight GᵀG A.

    With it a solver of A is a solver of G A whose weight is G A itself (Chen et al. 2021). G alternates between unit
    columns of D = G A and the G that is nearest to them, D A⁺.

    Returns:
        G ``[m, m]`` and the weight.
    """
    wide = A.double()
    values, vectors = torch.linalg.eigh(wide @ wide.t())
    if values[0] <= SINGULAR * values[-1]:
        analytic_weight(A)  # raises
    G = vectors @ torch.diag(values.rsqrt()) @ vectors.t()
    inverse = torch.linalg.pinv(wide)
    for _ in range(SYMMETRIC_STEPS):
        D = G @ wide
        G = D / D.norm(dim=0) @ inverse
    D = G @ wide
    W = G.t() @ D / D.square().sum(0)
    diagonal = (inverse.t() * wide).sum(0)
    return G.to(A.dtype), Weight(W.to(A.dtype), diagonal.to(A.dtype), _coherence(W, wide))


def _coherence(W: Tensor, A: Tensor) -> float:
    products = (W.t() @ A).abs()
    products.fill_diagonal_(0)
    return float(products.max()) if len(products) > 1 else 0.0


def bound(m: int, n: int) -> float:
    """The least Frobenius norm that the part of Wᵀ A off the diagonal can have, √(n²/m - n) (Welch 1974)."""
    return max(n * n / m - n, 0.0) ** 0.5
