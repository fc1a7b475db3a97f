"""The operator whose columns were scaled, before that."""

from __future__ import annotations

import torch
from torch import Tensor

from szilard.solve.operators import Operator


class Unscaled(Operator):
    """The operator that was given, from one whose columns were scaled to unit norm and their norms ``[n]``."""

    def __init__(self, operator: Operator, scales: Tensor) -> None:
        super().__init__()
        self.operator, self.shape, self.dtype = operator, operator.shape, operator.dtype
        self.register_buffer("scales", scales)

    scales: Tensor

    @property
    def device(self) -> torch.device:
        return self.operator.device

    def product(self, x: Tensor, active: float = 1.0) -> Tensor:
        return self.operator.product(x * self.scales, active)

    def adjoint(self, residual: Tensor) -> Tensor:
        return self.operator.adjoint(residual) * self.scales
