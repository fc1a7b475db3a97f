"""ISTA: proximal gradient steps on F = ½‖b - A x‖² + λ‖x‖₁ (Daubechies, Defrise and De Mol 2004)."""

from __future__ import annotations

from typing import Any

import torch

from szilard.errors import SzilardError
from szilard.solve.checks import warn_zero_codes
from szilard.solve.solver import Solver, per_sample
from szilard.solve.state import State
from szilard.sparse import ops


class ISTA(Solver):
    """x ← S_{λ/L}(x - Aᵀ(A x - b) / L), with L the largest eigenvalue of AᵀA and S the soft threshold.

    Args:
        A: matrix ``[m, n]`` or operator.
        penalty: λ, in the units of ½‖b - A x‖² over ‖x‖₁.
        layers: iterations of a call.
    """

    name = "ista"
    summary = "proximal gradient steps"

    def __init__(self, A: Any, penalty: float, layers: int = 1000) -> None:
        super().__init__(A, layers)
        if not 0 <= penalty < float("inf"):
            raise SzilardError(f"penalty={penalty}; give a number that is not negative")
        self.penalty = float(penalty)
        self.lipschitz = self.operator.largest_eigenvalue()

    def start(self, state: State) -> Any:
        largest = self.operator.adjoint(state.b).abs().amax(1)
        warn_zero_codes(per_sample(self.penalty, state.b), largest)
        return None

    def step(self, state: State) -> State:
        n = self.operator.shape[1]
        x, count, _ = ops.shrink(
            state.x,
            self.operator.adjoint(state.residual),
            per_sample(1 / self.lipschitz, state.x),
            None,
            None,
            per_sample(self.penalty / self.lipschitz, state.x),
            None,
        )
        return self.moved(state, x, None, share(count, n))


def share(count: torch.Tensor, n: int) -> float:
    """Share of entries that are not zero, from their number in each sample."""
    return float(count.mean()) / n if len(count) else 0.0
