"""LISTA: ISTA whose matrices and thresholds are learned, without a tie to A (Gregor and LeCun 2010)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard.solve.learned import Learned
from szilard.solve.state import State
from szilard.solve.unrolled import Selection, positive


class LISTA(Learned):
    """x ← S_{θ_k}(B b + W_k x), which before training is ISTA: B = Aᵀ/L, W = I - AᵀA/L, θ = λ/L.

    It learns n m + K (n² + 1) numbers, and needs many samples; :class:`~szilard.solve.alista.ALISTA` learns 2 K.

    Args:
        A: matrix ``[m, n]``.
        penalty: λ of the ISTA with which training starts, in the units of ½‖b - A x‖² over ‖x‖₁.
        layers: K.
        selection: as of :class:`~szilard.solve.learned.Learned`.
    """

    name = "lista"
    summary = "ISTA with learned matrices"
    needs_matrix = True

    def __init__(
        self, A: Any, penalty: float = 0.1, layers: int = 16, selection: Selection | None = None
    ) -> None:
        super().__init__(A, layers, selection)
        self.penalty = positive(penalty, "penalty")
        matrix = self.operator.matrix(self.name, self.without_matrix)
        lipschitz = self.operator.largest_eigenvalue()
        wide = matrix.double()
        start = torch.eye(matrix.shape[1], dtype=wide.dtype, device=wide.device) - wide.t() @ wide / lipschitz
        self.B = nn.Parameter((wide / lipschitz).t().to(matrix.dtype).contiguous())
        self.weights = nn.ParameterList(start.to(matrix.dtype, copy=True) for _ in range(layers))
        self.thresholds = self.numbers_by_layer(self.penalty / lipschitz)

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        return n * m + layers * (n * n + 1)

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return [self.weights[layer], self.thresholds[layer]]

    def shared_parameters(self) -> list[nn.Parameter]:
        return [self.B]

    def apply_layer(self, state: State, layer: int) -> State:
        v = state.b @ self.B.t()
        if layer:  # x is 0 before the first layer
            v = v + state.x @ self.weights[layer].t()
        return self.shrunk(state, v, torch.zeros_like(v), 0.0, self.thresholds[layer])
