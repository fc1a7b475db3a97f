r"""HyperLISTA: an unrolled solver with three numbers.

Chen, Liu, Wang and Yin 2021, "Hyperparameter tuning is all you need for LISTA".

With the analytic weight W of A, its diagonal d and its coherence μ, and the residual r = A x - b, one layer is

    e = ‖A⁺ r‖₁ = Σ_i d_i |w_iᵀ r|,      θ = c₁ μ e,      β = c₂ μ ‖x‖₀,      p = c₃ n log(‖A⁺ b‖₁ / e),
    x ← SS_{θ, p}( x - Wᵀ r + β (x - previous x) ).

The estimate e of ‖x - x*‖₁ comes from the product that the gradient needs. SS keeps the p largest entries above θ as
they are and soft-thresholds the rest. The step is 1: published code has 1/‖A‖² as a default, which stops at -27 dB.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from szilard.solve.ista import share
from szilard.solve.solver import Solver
from szilard.solve.state import State
from szilard.sparse import ops


class Memory(NamedTuple):
    """What HyperLISTA carries."""

    first_error: Tensor | None  # ‖A⁺ b‖₁ of each sample
    active: Tensor  # entries of x that are not zero, of each sample


class HyperLISTA(Solver):
    """Momentum, support selection and a threshold that follow from the residual, by three numbers.

    Args:
        A: matrix ``[m, n]`` or :class:`~szilard.solve.convolution.Convolution`; its columns are scaled to unit norm
            inside.
        layers: how many steps a call does.
        numbers: (c₁, c₂, c₃): threshold, momentum, selection. The defaults are good for density 0.1 without noise;
            :meth:`tune` finds those of your density and noise.
        damping: for matrices of a rank below m (:func:`~szilard.solve.weight.analytic_weight`).
    """

    name = "hyperlista"
    summary = "three numbers, found by a search; the analytic weight"
    unit_columns = True
    numbers: Tensor

    def __init__(
        self,
        A: Any,
        layers: int = 16,
        numbers: tuple[float, float, float] = (0.073, 0.018, 1.2),
        damping: float = 0.0,
    ) -> None:
        super().__init__(A, layers)
        self.weight = self.operator.weight(self.name, self.without_matrix, damping)
        self.coherence = self.weight.coherence
        self.register_buffer("numbers", torch.tensor(numbers, dtype=torch.float64))

    def start(self, state: State) -> Memory:
        return Memory(None, state.x.new_zeros(len(state.x)))

    def step(self, state: State) -> State:
        c_threshold, c_momentum, c_selection = self.numbers.tolist()
        memory: Memory = state.memory
        n = self.operator.shape[1]
        gradient = self.weight.transposed(state.residual)
        error = ops.weighted_norm(gradient, self.weight.diagonal)
        first = error if memory.first_error is None else memory.first_error
        passing = (c_selection * n * (first / error).log()).clamp(0, n).nan_to_num(n).long()
        x, count, _ = ops.shrink(
            state.x,
            gradient,
            torch.ones_like(error),
            state.previous,
            c_momentum * self.coherence * memory.active,
            c_threshold * self.coherence * error,
            passing,
        )
        return self.moved(state, x, Memory(first, count), share(count, n))
