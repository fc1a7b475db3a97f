"""Patterns by name, and the number of entries of each weight of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence

from szilard.errors import SzilardError
from szilard.sparse.allocation import allocate, check_allocation
from szilard.sparse.block import Block
from szilard.sparse.fan_in import FanIn, fan_in_budgets
from szilard.sparse.n_of_m import NOfM
from szilard.sparse.neuron import Neuron, neuron_budgets
from szilard.sparse.pattern import UNSTRUCTURED, Pattern


def make_pattern(name: str | Pattern) -> Pattern:
    """A pattern by name: ``"unstructured"``, ``"block32"`` (any side from 4 to 256), ``"neuron"``, ``"2:4"`` (any n of
    any m up to 64), ``"fan-in"``, or ``"fan-in:0.3"`` (with ablation, see :class:`~szilard.sparse.FanIn`).

    Raises:
        SzilardError: for any other name.
    """
    if isinstance(name, Pattern):
        return name
    if name == UNSTRUCTURED.name:
        return UNSTRUCTURED
    if name == Neuron.name:
        return Neuron()
    if side := re.fullmatch(r"block(\d{1,6})", name):
        return Block(int(side[1]))
    if sides := re.fullmatch(r"(\d{1,6}):(\d{1,6})", name):
        return NOfM(int(sides[1]), int(sides[2]))
    if share := re.fullmatch(r"fan-in(?::(\d{1,3}(?:\.\d{1,6})?))?", name):
        return FanIn(float(share[1] or 0))
    raise SzilardError(
        f"unknown pattern {name!r}: choose unstructured, neuron, fan-in, blocks with a side, such as block32, n of m "
        "columns, such as 2:4, or fan-in with ablation, such as fan-in:0.3"
    )


def checked_pattern(name: str | Pattern, density: float, allocation: str) -> Pattern:
    """:func:`make_pattern`, for a network of that density and allocation.

    Raises:
        SzilardError: for any other name, and for a density or an allocation that the pattern cannot have.
    """
    check_allocation(allocation)
    pattern = make_pattern(name)
    pattern.check_options(density, allocation)
    if allocation == "global" and pattern != UNSTRUCTURED:
        raise SzilardError(
            f"allocation 'global' compares single weights and takes no pattern {pattern.name}; leave pattern out"
        )
    return pattern


def budgets(
    patterns: Sequence[Pattern],
    shapes: Sequence[Sequence[int]],
    density: float,
    how: str = "uniform",
    macs: Sequence[int] | None = None,
) -> list[int]:
    """Entries per weight of a network, as :func:`~szilard.sparse.allocation.allocate`.

    For whole neurons ``"uniform"`` means the same share f of *neurons* in every weight: a weight that shrinks on both
    sides keeps f² of its entries, one that shrinks on one side f, and f is such that the total is ``density`` of all.
    (With the same density in every weight the layers would not fit together: a layer that keeps 5 % of its rows would
    feed one that reads 22 % of its columns.) The pattern n:m has its own density, which must be the one asked for.

    Raises:
        SzilardError: a density or an allocation that a pattern cannot have.
    """
    for pattern in patterns:
        pattern.check_options(density, how)
    if all(isinstance(pattern, NOfM) for pattern in patterns):
        return [p.entries(shape) for p, shape in zip(patterns, shapes, strict=True) if isinstance(p, NOfM)]
    neurons = [pattern for pattern in patterns if isinstance(pattern, Neuron)]
    if how == "uniform" and len(neurons) == len(patterns):
        return neuron_budgets(neurons, shapes, density)
    kept = allocate(shapes, density, how, macs)
    return fan_in_budgets(shapes, kept) if all(isinstance(p, FanIn) for p in patterns) else kept
