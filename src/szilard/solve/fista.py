r"""FISTA: accelerated proximal gradient steps on F = ½‖b - A x‖² + λ‖x‖₁ (Beck and Teboulle 2009).

A step is ISTA's at z = x + β (x - previous x). Its residual A z - b is made from those of x and previous x, so that
products exploit zeros of x, and the state holds the residual of x itself. F(x_k) - F* ≤ 2 L ‖x₀ - x*‖² / (k + 1)².
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from szilard.solve.ista import ISTA, share
from szilard.solve.solver import per_sample
from szilard.solve.state import State
from szilard.sparse import ops


class Memory(NamedTuple):
    """What FISTA carries."""

    t: float
    residual: Tensor  # of the previous x


class FISTA(ISTA):
    """Accelerated proximal gradient steps.

    Args:
        A: matrix ``[m, n]`` or operator.
        penalty: λ, in the units of ½‖b - A x‖² over ‖x‖₁.
        layers: iterations of a call.
    """

    name = "fista"
    summary = "accelerated proximal gradient steps"

    def start(self, state: State) -> Memory:
        super().start(state)
        return Memory(1.0, state.residual)

    def step(self, state: State) -> State:
        t, before = state.memory
        following = (1 + math.sqrt(1 + 4 * t * t)) / 2
        # The momentum of this step was found with the t of the step before.
        momentum = 0.0 if state.layer == 0 else (self._last(t) - 1) / t
        residual = state.residual if momentum == 0 else state.residual.lerp(before, -momentum)
        x, count, _ = ops.shrink(
            state.x,
            self.operator.adjoint(residual),
            per_sample(1 / self.lipschitz, state.x),
            state.previous,
            per_sample(momentum, state.x),
            per_sample(self.penalty / self.lipschitz, state.x),
            None,
        )
        return self.moved(state, x, Memory(following, state.residual), share(count, self.operator.shape[1]))

    @staticmethod
    def _last(t: float) -> float:
        """The t before this one: t² - t = (t before)²."""
        return math.sqrt(t * t - t)
