"""LISTA-CP and LISTA-CPSS: each layer has a learned weight in place of A (Chen, Liu, Wang and Yin 2018)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.learned import Learned
from szilard.solve.state import State
from szilard.solve.unrolled import SELECTION, Selection, positive
from szilard.solve.weight import analytic_weight

INITIAL = ("analytic", "ista")


class LISTACP(Learned):
    """x ← SS_{θ_k, p_k}(x - V_kᵀ (A x - b)): LISTA-CPSS, and LISTA-CP without selection.

    LISTA converges only if its matrices come to satisfy W = I - V_kᵀ A; here they do by construction. It learns
    K (m n + 1) numbers.

    Args:
        A: matrix ``[m, n]``; its columns are scaled to unit norm inside.
        layers: K.
        selection: as of :class:`~szilard.solve.learned.Learned`; None is LISTA-CP.
        initial: V_k before training. ``"analytic"``: the analytic weight, so that it starts as ALISTA; ``"ista"``: A/L,
            so that it starts as ISTA.
        threshold: θ of every layer before training; with ``"ista"`` it is λ, and θ = λ/L.
        damping: for matrices of a rank below m (:func:`~szilard.solve.weight.analytic_weight`).
    """

    name = "lista_cp"
    summary = "a weight and a threshold for each layer; LISTA-CPSS with support selection"
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
        self.weights = nn.ParameterList(weight.clone() for _ in range(layers))
        self.thresholds = self.numbers_by_layer(bound)

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        return layers * (m * n + 1)

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return [self.weights[layer], self.thresholds[layer]]

    def apply_layer(self, state: State, layer: int) -> State:
        return self.shrunk(state, state.x, state.residual @ self.weights[layer], 1.0, self.thresholds[layer])


def first_weight(solver: Learned, initial: str, threshold: float, damping: float) -> tuple[Tensor, float]:
    """The weight ``[m, n]`` and the threshold before training.

    Raises:
        SzilardError: if there is no such choice, or no analytic weight.
    """
    A = solver.operator.matrix(solver.name, solver.without_matrix)
    if initial == "analytic":
        return analytic_weight(A, damping).W, threshold
    if initial == "ista":
        lipschitz = 1.001 * solver.operator.largest_eigenvalue()
        return A / lipschitz, threshold / lipschitz
    raise SzilardError(f"initial={initial!r}; give one of {', '.join(INITIAL)}")
