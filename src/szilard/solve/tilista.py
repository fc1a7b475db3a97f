"""TiLISTA: one learned weight for all layers, and a step and a threshold for each (Liu, Chen, Wang and Yin 2019)."""

from __future__ import annotations

from typing import Any

from torch import nn

from szilard.solve.learned import Learned
from szilard.solve.lista_cp import first_weight
from szilard.solve.state import State
from szilard.solve.unrolled import SELECTION, Selection, positive


class TiLISTA(Learned):
    """x ← SS_{θ_k, p_k}(x - γ_k Vᵀ (A x - b)), with m n + 2 K learned numbers.

    Args:
        A: matrix ``[m, n]``; its columns are scaled to unit norm inside.
        layers: K.
        selection: as of :class:`~szilard.solve.learned.Learned`.
        initial: V before training, as of :class:`~szilard.solve.lista_cp.LISTACP`.
        threshold: likewise.
        damping: likewise.
    """

    name = "tilista"
    summary = "one learned weight, and a step and a threshold for each layer"
    unit_columns = True
    needs_matrix = True

    def __init__(
        self,
        A: Any,
        layers: int = 16,
        selection: Selection | None = SELECTION,
        initial: str = "analytic",
        threshold: float = 0.1,
        damping: float = 0.0,
    ) -> None:
        super().__init__(A, layers, selection)
        self.initial, self.threshold, self.damping = initial, positive(threshold, "threshold"), damping
        weight, bound = first_weight(self, initial, self.threshold, damping)
        self.V = nn.Parameter(weight.clone())
        self.steps = self.numbers_by_layer(1.0)
        self.thresholds = self.numbers_by_layer(bound)

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        return m * n + 2 * layers

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return [self.steps[layer], self.thresholds[layer]]

    def shared_parameters(self) -> list[nn.Parameter]:
        return [self.V]

    def apply_layer(self, state: State, layer: int) -> State:
        gradient = state.residual @ self.V
        return self.shrunk(state, state.x, gradient, self.steps[layer], self.thresholds[layer])
