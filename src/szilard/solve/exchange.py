"""Whether another column could stand in for one of a support, so that a code is one of several that explain b."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from szilard.solve.operators import Matrix

_MOST_CODES = 8192  # columns of a matrix whose products with each other are kept


class Exchange:
    """Tells samples of which one large entry can move to another column.

    An entry i of a fit z with residual r is moved to the column j that fits r + z_i a_i best. If what is left is within
    the noise, and the move changes the code by more than is allowed, b does not say which of the two is right.

    Args:
        A: with columns of unit norm, in float64.
    """

    def __init__(self, A: Matrix) -> None:
        self.A = A

    @functools.cached_property
    def products(self) -> Tensor | None:
        """Products of the columns with each other ``[n, n]``, made when a support is first judged; None: too many."""
        return self.A.A.t() @ self.A.A if self.A.shape[1] <= _MOST_CODES else None

    def decided(self, z: Tensor, residual: Tensor, bound: Tensor, error: float) -> Tensor:
        """Whether no such move exists ``[B]``.

        Args:
            z: least-squares codes ``[B, n]``, float64.
            residual: b - A z, ``[B, m]``.
            bound: the largest residual that the noise explains ``[B]``.
            error: the largest change of a code that is allowed, as a share of its norm.
        """
        if self.products is None:
            return torch.ones(len(z), dtype=torch.bool, device=z.device)
        correlation = residual @ self.A.A
        square, size = residual.square().sum(1), z.norm(dim=1)
        # The move changes two entries, of about the same size.
        rows, columns = (z.abs() * 2**0.5 > (error * size)[:, None]).nonzero(as_tuple=True)
        decided = torch.ones(len(z), dtype=torch.bool, device=z.device)
        for some, which in zip(rows.split(4096), columns.split(4096), strict=True):
            entry = z[some, which]
            fit = correlation[some] + entry[:, None] * self.products[which]
            fit = fit.masked_fill(z[some] != 0, 0.0)
            left = square[some] + 2 * entry * correlation[some, which] + entry.square()
            moved = left - fit.square().amax(1) <= bound[some].square()
            decided[some[moved]] = False
        return decided
