"""Predictions of several networks: the members of an ensemble, or a posterior that is a set of draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from szilard.bayes.draws import Draws
from szilard.data.unseen import StandIns
from szilard.errors import SzilardError
from szilard.methods import draws


def spread_out(count: int, samples: int) -> list[int]:
    """Which of ``count`` draws to use for ``samples`` predictions: all of them, or some at equal distances."""
    if samples < 1:
        raise SzilardError(f"samples must be at least 1, not {samples}")
    if samples >= count:
        return list(range(count))
    return [(2 * number + 1) * count // (2 * samples) for number in range(samples)]


def outputs(
    network: nn.Module, x: Any, samples: int, seed: int, batch_size: int, stand_ins: StandIns | None
) -> tuple[Tensor, Tensor | None]:
    """Outputs ``[S, N, ...]`` of the draws of a network, and their weights ``[S]`` if they differ.

    Args:
        network: a :class:`Draws`, or one network.
        x: all inputs.
        samples: at most so many draws are used; of inputs with a category that training has not seen, about as many
            replacements over all of them.
        seed: of these replacements.
        batch_size: number of inputs in each forward pass.
        stand_ins: replacements for such categories.
    """
    found, weights = _chosen(network, samples)
    stacked = of_members(found, x, samples, [seed] * len(found), batch_size, stand_ins)
    if weights is not None and len(stacked) != len(found):
        weights = weights.repeat_interleave(len(stacked) // len(found))
    return stacked, weights


def of_members(
    members: Sequence[nn.Module],
    x: Any,
    samples: int,
    seeds: Sequence[int],
    batch_size: int,
    stand_ins: StandIns | None,
) -> Tensor:
    """Outputs ``[S, N, ...]`` of several networks, one after another, each with its share of the samples.

    Args:
        members: the networks.
        x, batch_size, stand_ins: as of :func:`outputs`.
        samples: of all networks together, at least one of each.
        seeds: of the draws of each network.
    """
    each = max(1, samples // len(members)) if samples > 0 else samples
    return torch.cat(
        [
            draws.outputs(member, x, each, seed, batch_size, stand_ins)
            for member, seed in zip(members, seeds, strict=True)
        ]
    )


def _chosen(network: nn.Module, samples: int) -> tuple[Sequence[nn.Module], Tensor | None]:
    if not isinstance(network, Draws):
        return [network], None
    members, weights = network.in_use(), network.weights
    rows = spread_out(len(members), samples)
    return [members[row] for row in rows], None if weights is None else weights[rows]
