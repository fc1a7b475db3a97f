"""Whether the adjoint of an operator is its transpose."""

from __future__ import annotations

import torch

from szilard.errors import SzilardError
from szilard.solve.operators import Operator

#: Of the difference of <A x, r> and <x, Aᵀ r>, as a share of their size.
TOLERANCE = {torch.float32: 3e-3, torch.float64: 1e-5}


@torch.no_grad()
def check_adjoint(operator: Operator) -> None:
    """Compare <A x, r> with <x, Aᵀ r> for a fixed random x, and two r: a random one, and A x, which sees scales best.

    Raises:
        SzilardError: if they differ by more than rounding.
    """
    m, n = operator.shape
    generator = torch.Generator().manual_seed(1)
    x, r = (torch.randn(1, size, generator=generator, dtype=torch.float64) for size in (n, m))
    x, r = x.to(operator.device, operator.dtype), r.to(operator.device, operator.dtype)
    there = operator.product(x)
    tried = torch.cat([r, there])
    one = (there.double() * tried.double()).sum(1)
    other = (x.double() * operator.adjoint(tried).double()).sum(1)
    least = there.double().norm() * one.new_tensor([1.0, 0.0])  # <y, r> is about ‖y‖ for a random r
    size = torch.maximum(torch.maximum(one.abs(), other.abs()), least)
    off = ((one - other).abs() / size).where(size != 0, 0.0).max()
    if not off <= TOLERANCE[operator.dtype]:
        raise SzilardError(
            f"adjoint is not the transpose of product: <A x, r> and <x, Aᵀ r> differ by {float(off):.2g} of their size "
            "for random x and r; mend one of the two functions"
        )
