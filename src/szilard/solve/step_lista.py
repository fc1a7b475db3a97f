"""Step-LISTA: ISTA whose steps are learned, for any operator (Ablin, Moreau, Massias and Gramfort 2019)."""

from __future__ import annotations

from typing import Any

from torch import nn

from szilard.solve.differentiable import differentiable
from szilard.solve.learned import Learned
from szilard.solve.state import State
from szilard.solve.unrolled import Selection, positive


class StepLISTA(Learned):
    """x ← S_{λ γ_k}(x - γ_k Aᵀ (A x - b)), with a learned step a layer; before training ISTA, γ = 1/L.

    It needs no matrix: gradients pass through functions of torch, and through operators of scipy and pylops by their
    adjoint.

    Args:
        A: matrix ``[m, n]`` or operator.
        penalty: λ, in the units of ½‖b - A x‖² over ‖x‖₁.
        layers: K.
        own_thresholds: learn a threshold for each layer, too, which starts as λ γ.
        selection: as of :class:`~szilard.solve.learned.Learned`.
    """

    name = "step_lista"
    summary = "ISTA with learned steps, for any operator"

    def __init__(
        self,
        A: Any,
        penalty: float,
        layers: int = 16,
        own_thresholds: bool = False,
        selection: Selection | None = None,
    ) -> None:
        super().__init__(A, layers, selection)
        self.penalty, self.own_thresholds = positive(penalty, "penalty"), bool(own_thresholds)
        self.operator = differentiable(self.operator)
        lipschitz = self.operator.largest_eigenvalue()
        self.steps = self.numbers_by_layer(1 / lipschitz)
        self.thresholds = self.numbers_by_layer(self.penalty / lipschitz) if self.own_thresholds else None

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        return 2 * layers

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return [self.steps[layer], *([] if self.thresholds is None else [self.thresholds[layer]])]

    def apply_layer(self, state: State, layer: int) -> State:
        scale = self.steps[layer]
        threshold = self.penalty * scale if self.thresholds is None else self.thresholds[layer]
        return self.shrunk(state, state.x, self.operator.adjoint(state.residual), scale, threshold)
