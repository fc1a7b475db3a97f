"""Solvers whose layers have parameters that are trained."""

from __future__ import annotations

from torch import nn

from szilard.errors import SzilardError
from szilard.solve.solver import Solver
from szilard.solve.state import State


class Learned(Solver):
    """A solver with a fixed number of layers and parameters for each.

    A subclass defines ``apply_layer``, and ``layer_parameters`` for training layer by layer. Steps are differentiable.
    """

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        """The parameters that belong to a layer alone; shared ones belong to layer 0."""
        raise NotImplementedError

    def apply_layer(self, state: State, layer: int) -> State:
        """The state after one layer."""
        raise NotImplementedError

    def step(self, state: State) -> State:
        if state.layer >= self.layers:
            raise SzilardError(f"{self.name} has {self.layers} layers; make one with more and train it")
        return self.apply_layer(state, state.layer)


def pass_counts(layers: int, n: int, step: float = 1.2, most: float = 13.0) -> list[int]:
    """How many entries may pass in each layer: ``min(step · (layer + 1), most)`` per cent of n (Chen et al. 2018)."""
    return [round(min(step * (layer + 1), most) / 100 * n) for layer in range(layers)]
