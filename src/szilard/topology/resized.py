"""Supports that get another number of entries, with the state of their optimisers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from szilard.bayes.weight import Weight
from szilard.sparse.move import Move
from szilard.sparse.pattern import Pattern
from szilard.topology.replace import SECOND_MOMENTS


@torch.no_grad()
def resize(
    weight: Weight,
    flat: Tensor,
    optimizers: Sequence[torch.optim.Optimizer] = (),
    pattern: Pattern | None = None,
) -> Move:
    """Set other entries of a weight, of any number, and let optimisers follow.

    A move that keeps the number of entries (:func:`~szilard.topology.drop_and_grow`) permutes the parameters in place;
    this makes new ones, which replace the old ones in the groups of the optimisers. State of entries that stay is
    kept; of new ones first moments are zero, and second moments the mean of the others.

    Args:
        weight: to resize.
        flat: ascending indices of the entries in the flattened weight, int64.
        optimizers: those that train the network.
        pattern: of the new support; by default that of the old one.
    """
    before = dict(weight.named_parameters(recurse=False))
    move = weight.resize(flat, pattern)
    after = dict(weight.named_parameters(recurse=False))
    for optimizer in optimizers:
        for name, old in before.items():
            _replace(optimizer, old, after[name])
            state = optimizer.state.pop(old, None)
            if state is not None:
                optimizer.state[after[name]] = {
                    key: _carried(move, key, value, old) for key, value in state.items()
                }
    return move


def replace_parameters(
    network: nn.Module, before: dict[str, nn.Parameter], optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Put the parameters that a network has now in place of those that it had ``before``, by name, without state."""
    for name, parameter in network.named_parameters():
        old = before.get(name)
        if old is not None and old is not parameter:
            for optimizer in optimizers:
                _replace(optimizer, old, parameter)
                optimizer.state.pop(old, None)


def _replace(optimizer: torch.optim.Optimizer, old: Tensor, new: Tensor) -> None:
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]


def _carried(move: Move, name: str, value: object, old: Tensor) -> object:
    if not isinstance(value, Tensor) or value.shape != old.shape or value.dim() != 1:
        return value
    survivors = move.survivors(value)
    fill = survivors.mean() if name in SECOND_MOMENTS and len(survivors) else 0.0
    return move.carried(value, fill)
