"""Layers with parameters: what algorithms that are trained share, but for the training."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from szilard.errors import SzilardError
from szilard.solve.ista import share
from szilard.solve.solver import Solver, per_sample
from szilard.solve.state import State
from szilard.sparse import ops

#: Per cent of the entries that each layer adds to those that pass, and at most (Chen et al. 2018).
Selection = tuple[float, float]
SELECTION: Selection = (1.2, 13.0)


class Unrolled(Solver):
    """A solver with a fixed number of layers and parameters for each.

    Args:
        A: matrix ``[m, n]`` or operator.
        layers: K.
        selection: (per cent that each layer adds to the entries that pass, and at most); None switches selection off.

    A subclass is one file. It defines ``apply_layer``; ``layer_parameters``, and ``shared_parameters`` if layers share
    some; and ``count``. Steps are differentiable. Every option of its constructor is an attribute of the same name.
    """

    schedule: ClassVar[str] = "joint"  # how :func:`szilard.solve.training.train` trains it by default
    learning_rate: ClassVar[float] = 0.05  # relative to the root mean square of each parameter

    def __init__(self, A: Any, layers: int = 16, selection: Selection | None = None) -> None:
        super().__init__(A, layers)
        self.selection = None if selection is None else checked_selection(selection)
        self.passing = (
            None if self.selection is None else pass_counts(layers, self.operator.shape[1], *self.selection)
        )
        self.training_report: dict[str, Any] = {}  # what the parameters were trained on; small JSON

    # -- what an algorithm defines ------------------------------------------------------------------------

    def apply_layer(self, state: State, layer: int) -> State:
        """The state after one layer."""
        raise NotImplementedError

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        """The parameters that belong to a layer alone."""
        raise NotImplementedError

    def shared_parameters(self) -> list[nn.Parameter]:
        """The parameters that all layers use."""
        return []

    def prepare_training(self, b: Tensor) -> None:
        """Called with the first measurements ``[B, m]`` of a training, before its first step."""

    @classmethod
    def count(cls, m: int, n: int, layers: int) -> int:
        """How many numbers are learned for a matrix ``[m, n]``."""
        raise NotImplementedError

    # -- the face -----------------------------------------------------------------------------------------

    def step(self, state: State) -> State:
        if state.layer >= self.layers:
            raise SzilardError(f"{self.name} has {self.layers} layers; make one with more and train it")
        return self.apply_layer(state, state.layer)

    # -- parts of algorithms ------------------------------------------------------------------------------

    def numbers_by_layer(self, value: float) -> nn.ParameterList:
        """A learned number for each layer."""
        dtype, device = self.operator.dtype, self.operator.device
        return nn.ParameterList(torch.full((), value, dtype=dtype, device=device) for _ in range(self.layers))

    def shrunk(
        self,
        state: State,
        x: Tensor,
        gradient: Tensor,
        scale: Tensor | float,
        threshold: Tensor,
        memory: Any = None,
    ) -> State:
        """The state after x - scale · gradient was thresholded, with the layer's selection.

        Args:
            state: before the layer.
            x: ``[B, n]``.
            gradient: ``[B, n]``.
            scale: a number, or one for each sample.
            threshold: likewise; negative ones count as 0.
            memory: of the next state.
        """
        passing = None
        if self.passing is not None:
            passing = torch.full((len(x),), self.passing[state.layer], device=x.device)
        bound = per_sample(threshold.clamp_min(0), x)
        codes, count, _ = ops.shrink(x, gradient, per_sample(scale, x), None, None, bound, passing)
        return self.moved(state, codes, memory, share(count, self.operator.shape[1]))


def pass_counts(layers: int, n: int, step: float = 1.2, most: float = 13.0) -> list[int]:
    """How many entries may pass in each layer: ``min(step · (layer + 1), most)`` per cent of n (Chen et al. 2018)."""
    return [round(min(step * (layer + 1), most) / 100 * n) for layer in range(layers)]


def checked_selection(selection: Any) -> Selection:
    """The two numbers of a selection.

    Raises:
        SzilardError: if they are not two numbers from 0 to 100.
    """
    try:
        step, most = (float(number) for number in selection)
    except (TypeError, ValueError):
        step = most = math.nan
    if not (0 <= step <= 100 and 0 <= most <= 100):
        raise SzilardError(
            f"selection={selection!r}; give two numbers from 0 to 100, the per cent that each layer adds to the "
            "entries that pass and their most, such as (1.2, 13), or None"
        )
    return step, most


def positive(value: float, name: str) -> float:
    """An option that is a positive number.

    Raises:
        SzilardError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise SzilardError(f"{name}={value!r}; give a positive number")
    return float(value)
