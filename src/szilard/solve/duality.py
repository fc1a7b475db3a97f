r"""How far a code is from the minimum of F = ½‖b - A x‖² + λ‖x‖₁, by a bound that needs no minimum.

For every u with ‖Aᵀu‖_∞ ≤ λ, bᵀu - ½‖u‖² is at most the minimum of F. The residual b - A x, scaled until it is such a
u, gives the bound.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.solve.checks import float_tensor, measurements
from szilard.solve.operators import Operator, as_operator


def lasso_gap(A: Any, x: Any, b: Any, penalty: float | Tensor) -> Tensor:
    """A bound of (F(x) - its minimum) / F(x) for each sample, ``[B]`` in float64; 0 where F(x) is 0.

    Args:
        A: matrix ``[m, n]`` or operator.
        x: codes ``[B, n]``.
        b: measurements ``[B, m]``.
        penalty: λ, a number or one for each sample ``[B]``.

    Raises:
        SzilardError: if the shapes do not fit.
    """
    operator = as_operator(A)
    b = measurements(b, operator.shape, operator.dtype, operator.device)
    x = float_tensor(x, "x").to(operator.device, operator.dtype)
    if x.shape != (len(b), operator.shape[1]):
        raise SzilardError(f"x has shape {tuple(x.shape)}; give {len(b)} rows of {operator.shape[1]} codes")
    return relative_gap(operator, x, operator.product(x) - b, b, penalty)


def relative_gap(
    operator: Operator, x: Tensor, residual: Tensor, b: Tensor, penalty: float | Tensor
) -> Tensor:
    """:func:`lasso_gap` of codes whose residual A x - b ``[B, m]`` is known: one product with Aᵀ."""
    correlation = operator.adjoint(residual).abs().amax(1).double()
    rest, b = -residual.double(), b.double()
    penalty = torch.as_tensor(penalty, dtype=torch.float64, device=b.device)
    square = rest.square().sum(1)
    objective = square / 2 + penalty * x.abs().double().sum(1)
    most = (penalty / correlation).where(correlation > 0, torch.inf)
    best = (b * rest).sum(1) / square.where(square > 0, 1.0)  # maximises the bound along the residual
    scale = best.clamp(-most, most).where(square > 0, 0.0)
    bound = scale * (b * rest).sum(1) - scale.square() * square / 2
    return ((objective - bound) / objective).where(objective > 0, 0.0).clamp_min(0.0)
