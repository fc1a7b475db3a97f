"""A search for the numbers of one layer, such as its step and threshold, before gradients refine all layers together.

A threshold that is ten times too large or small has little gradient, and a layer is cheap to try when those before it
are fixed.
"""

from __future__ import annotations

import torch
from torch import nn

from szilard.solve.state import State
from szilard.solve.training_data import Batch, Loss
from szilard.solve.unrolled import Unrolled

#: Factors that are tried, round by round, on each number in turn.
ROUNDS = (
    (0.1, 0.2, 0.35, 0.5, 0.7, 1.4, 2.0, 4.0),
    (0.6, 0.75, 0.87, 1.15, 1.3, 1.6),
    (0.9, 0.95, 1.05, 1.1),
)


#: Factors of the first layer's threshold, which is in the units of b, before a second search by those rounds.
UNITS = tuple(100.0**power for power in (-1, 1, -2, 2, -3, 3, -4, 4))
MARKED = 0.02  # by how much the second must be better


@torch.no_grad()
def search(solver: Unrolled, layer: int, state: State, batch: Batch, loss: Loss) -> State:
    """Set the numbers of a layer to the best that were tried, starting at those of the layer before.

    Args:
        solver: is changed.
        layer: which.
        state: before it.
        batch: on which candidates are judged.
        loss: by which.

    Returns:
        The state after the layer.
    """
    copy_layer(solver, layer)
    numbers = [one for one in solver.layer_parameters(layer) if one.numel() == 1]
    best = float(loss(solver.apply_layer(state, layer), batch))

    def tried(number: nn.Parameter, factors: tuple[float, ...], best: float) -> float:
        """Leave a number at the best factor, and return the loss there."""
        centre = number.clone()
        kept = centre.clone()
        for factor in factors:
            number.copy_(centre * factor)
            found = float(loss(solver.apply_layer(state, layer), batch))
            if found < best:
                best, kept = found, number.clone()
        number.copy_(kept)
        return best

    def rounds(best: float) -> float:
        for factors in ROUNDS:
            for number in reversed(numbers):  # thresholds before steps
                best = tried(number, factors, best)
        return best

    before = [one.clone() for one in numbers]
    reached = rounds(best)
    if not layer and numbers:
        after = [one.clone() for one in numbers]
        for one, value in zip(numbers, before, strict=True):
            one.copy_(value)
        other = rounds(tried(numbers[-1], UNITS, best))
        if not other < reached - MARKED:
            for one, value in zip(numbers, after, strict=True):
                one.copy_(value)
    return solver.apply_layer(state, layer)


def copy_layer(solver: Unrolled, layer: int) -> None:
    """Start a layer's parameters at those of the layer before, where they have the same shape."""
    if not layer:
        return
    with torch.no_grad():
        before: list[nn.Parameter] = solver.layer_parameters(layer - 1)
        for one, other in zip(solver.layer_parameters(layer), before, strict=True):
            if one.shape == other.shape:
                one.copy_(other)
