"""ALISTA: the weight is analytic, and each layer learns a step and a threshold (Liu, Chen, Wang and Yin 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from szilard.solve.ista import share
from szilard.solve.learned import Learned, pass_counts
from szilard.solve.solver import per_sample
from szilard.solve.state import State
from szilard.sparse import ops


class ALISTA(Learned):
    """x ← SS_{θ_k, p_k}(x - γ_k Wᵀ (A x - b)), with two numbers a layer.

    Args:
        A: matrix ``[m, n]`` or :class:`~szilard.solve.convolution.Convolution`; its columns are scaled to unit norm
            inside.
        layers: K.
        selection: (per cent that each layer adds to the entries that pass, and at most); None switches selection off.
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
        selection: tuple[float, float] | None = (1.2, 13.0),
        threshold: float = 0.1,
        damping: float = 0.0,
    ) -> None:
        super().__init__(A, layers)
        self.weight = self.operator.weight(self.name, self.without_matrix, damping)
        dtype, device = self.operator.dtype, self.operator.device
        self.steps = nn.ParameterList(torch.ones((), dtype=dtype, device=device) for _ in range(layers))
        self.thresholds = nn.ParameterList(
            torch.full((), threshold, dtype=dtype, device=device) for _ in range(layers)
        )
        self.passing = None if selection is None else pass_counts(layers, self.operator.shape[1], *selection)

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        return [self.steps[layer], self.thresholds[layer]]

    def apply_layer(self, state: State, layer: int) -> State:
        passing = None
        if self.passing is not None:
            passing = torch.full((len(state.x),), self.passing[layer], device=state.x.device)
        x, count, _ = ops.shrink(
            state.x,
            self.weight.transposed(state.residual),
            per_sample(self.steps[layer], state.x),
            None,
            None,
            per_sample(self.thresholds[layer].clamp_min(0), state.x),
            passing,
        )
        return self.moved(state, x, None, share(count, self.operator.shape[1]))
