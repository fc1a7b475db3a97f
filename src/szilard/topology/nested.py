"""Two nested supports by magnitude: entries that the forward pass uses, in entries that have a gradient (Top-KAST)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from szilard.bayes.noise import mix
from szilard.bayes.weight import Weight
from szilard.sparse.move import Move
from szilard.topology.explored import Explored
from szilard.topology.replace import SECOND_MOMENTS, refuse_nan


def chosen(values: Tensor, used: int, more: int, draw: int | None = None) -> tuple[Tensor, Tensor]:
    """The sets A and B \\ A (Jayakumar et al. 2020, eqs. 1 and 2) of one weight.

    Args:
        values: of all entries of the dense weight, flattened.
        used: number of entries of A, those of largest magnitude; of equal ones the lowest index.
        more: number of entries of B \\ A, those of next largest magnitude.
        draw: seed, if B \\ A is drawn at random among all entries that are not in A.

    Returns:
        two ascending flat indices, int64.

    Raises:
        SzilardError: a value is NaN.
    """
    refuse_nan(values)
    order = values.abs().sort(descending=True, stable=True).indices
    rest = order[used:]
    if draw is not None:
        generator = torch.Generator().manual_seed(draw)
        rest = rest.sort().values[torch.randperm(len(rest), generator=generator).to(rest.device)]
    return order[:used].sort().values, rest[:more].sort().values


@torch.no_grad()
def refresh(
    weight: Weight,
    explored: Explored,
    reserve: Tensor,
    optimizers: Sequence[torch.optim.Optimizer],
    draw: int | None = None,
) -> None:
    """Choose both sets anew by the present magnitudes, in place, with the state of the optimisers.

    Entries that stay in B keep their values and their optimiser state, whichever set they are in. Those that enter B
    have the values that they had when they left it, or at the start, with first moments of zero and the mean of the
    second moments.

    Args:
        weight: its support is A.
        explored: B \\ A.
        reserve: values of all entries ``[rows * cols]``, on any device; those of B are written to it.
        optimizers: those that train the network.
        draw: see :func:`chosen`.
    """
    old = torch.cat([weight.support.flat(), explored.support.flat()])
    parts = weight.mean, explored.values
    reserve[old.to(reserve.device)] = torch.cat([part.detach() for part in parts]).to(reserve)
    used, more = chosen(reserve, len(weight.mean), len(explored.values), draw)
    new = torch.cat([used, more]).to(old)
    place = old.new_full((len(reserve),), -1)
    place[old] = torch.arange(len(old), device=old.device)
    move = Move(place[new], dropped=0)
    weight.support.replace(new[: len(used)])
    explored.support.replace(new[len(used) :])
    values = reserve[new.to(reserve.device)].to(weight.mean)
    weight.mean.copy_(values[: len(used)])
    explored.values.copy_(values[len(used) :])
    for optimizer in optimizers:
        _carry(move, [optimizer.state.get(part, {}) for part in parts], parts)


def _carry(move: Move, states: Sequence[dict[str, object]], parts: Sequence[Tensor]) -> None:
    """Permute the optimiser's state of two parameters as if they were one."""
    sizes = [len(part) for part in parts]
    for name in {name for state in states for name in state}:
        held = [state.get(name) for state in states]
        if not any(
            isinstance(value, Tensor) and value.shape == part.shape
            for value, part in zip(held, parts, strict=True)
        ):
            continue
        like = next(value for value in held if isinstance(value, Tensor))
        full = [
            value if isinstance(value, Tensor) else like.new_zeros(n)
            for value, n in zip(held, sizes, strict=True)
        ]
        both = torch.cat(full)
        survivors = move.survivors(both)
        fill = survivors.mean() if name in SECOND_MOMENTS and len(survivors) else 0.0
        for value, carried in zip(held, move.carried(both, fill).split(sizes), strict=True):
            if isinstance(value, Tensor):
                value.copy_(carried)


def seed_of(seed: int, step: int, number: int) -> int:
    """The seed of a random choice of B \\ A: of the run, the step and the number of the weight."""
    return mix(seed, step, number)
