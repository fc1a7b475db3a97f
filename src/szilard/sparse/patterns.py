"""Patterns by name, and the number of entries of each weight of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence

from szilard.errors import SzilardError
from szilard.sparse.allocation import allocate
from szilard.sparse.block import Block
from szilard.sparse.neuron import Neuron, neuron_budgets
from szilard.sparse.pattern import UNSTRUCTURED, Pattern


def make_pattern(name: str | Pattern) -> Pattern:
    """A pattern by name: ``"unstructured"``, ``"block32"`` (any side from 4 to 256) or ``"neuron"``.

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
    raise SzilardError(
        f"unknown pattern {name!r}: choose unstructured, neuron, or blocks with a side, such as block32"
    )


def budgets(
    patterns: Sequence[Pattern], shapes: Sequence[Sequence[int]], density: float, how: str = "uniform"
) -> list[int]:
    """Entries per weight of a network, as :func:`~szilard.sparse.allocation.allocate`.

    For whole neurons ``"uniform"`` means the same share f of *neurons* in every weight: a weight that shrinks on both
    sides keeps f² of its entries, one that shrinks on one side f, and f is such that the total is ``density`` of all.
    (With the same density in every weight the layers would not fit together: a layer that keeps 5 % of its rows would
    feed one that reads 22 % of its columns.)
    """
    neurons = [pattern for pattern in patterns if isinstance(pattern, Neuron)]
    if how == "uniform" and len(neurons) == len(patterns):
        return neuron_budgets(neurons, shapes, density)
    return allocate(shapes, density, how)
