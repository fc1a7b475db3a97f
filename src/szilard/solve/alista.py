"""ALISTA: the weight is analytic, and each layer learns a step and a threshold (Liu, Chen, Wang and Yin 2019)."""

from __future__ import annotations

from typing import Any

from torch import nn

from szilard.solve.learned import Learned
from szilard.solve.state import State
from szilard.solve.unrolled import SELECTION, Selection, positive


class ALISTA(Learned):
    """x ← SS_{θ_k, p_k}(x - γ_k Wᵀ (A x - b)), with two learned numbers a layer.

    Args:
        A: matrix ``[m, n]`` or :class:`~szilard.solve.convolution.Convolution`; its columns are scaled to unit norm
            inside.
        layers: K.
        selection: as of :class:`~szilard.solve.learned.Learned`.
        threshold: θ of every layer before training.
        damping: for matrices of a rank below m (:func:`~szilard.solve.weight.analytic_weight`).
    """

    name = "alista"
    summary = "a step and a threshold for each layer; the analytic weight"
    unit_columns = True

    def __init__(
        self,
        A: Any,
        layers: int = 16,
        selection: Selection | None = SELECTION,
        threshold: float = 0.1,
        damping: float = 0.0,
    ) -> None:
        super().__init__(A, layers, selection)
        self.threshold, self.damping = positive(threshold, "threshold"), damping
        self.weight = self.operator.weight(self.name, self.without_matrix, damping)
        self.steps = self.numbers_by_layer(1.0)
        self.thresholds = self.numbers_by_layer(self.threshold)

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        return 2 * layers

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return [self.steps[layer], self.thresholds[layer]]

    def apply_layer(self, state: State, layer: int) -> State:
        gradient = self.weight.transposed(state.residual)
        return self.shrunk(state, state.x, gradient, self.steps[layer], self.thresholds[layer])
