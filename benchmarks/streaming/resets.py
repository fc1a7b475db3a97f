"""A linear regression whose weights are drawn anew at unknown rows, and filters on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from streaming import measures
from streaming.filtering import filtered
from szilard.adapt import Filter
from szilard.adapt.broadening import Broadening, Reset, Temper
from szilard.adapt.observations import Linear
from szilard.adapt.trackers import Always, Bank, Beam, Branches, NoChange, RunLength, Tracker, Tracks

ROWS, FEATURES, VARIANCE, CHANGE = 2000, 8, 0.05, 1 / 150
TOLERANCE = 5  #: Rows between a change and the row that it is dated to.


@dataclass(frozen=True)
class World:
    """Rows: features ``[N, D]``, targets ``[N]``, and the first row of each new world."""

    x: np.ndarray
    y: np.ndarray
    changes: list[int]


def world(seed: int) -> World:
    """y = w'x + noise of variance .05; before each row w is drawn anew from N(0, I) with probability 1/150."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=FEATURES)
    x = random.normal(size=(ROWS, FEATURES))
    y, changes = np.zeros(ROWS), []
    for row in range(ROWS):
        if row and random.random() < CHANGE:
            weights = random.normal(size=FEATURES)
            changes.append(row)
        y[row] = x[row] @ weights + np.sqrt(VARIANCE) * random.normal()
    return World(x, y, changes)


class ConditionalBeam(Beam):
    """A beam that multiplies the weight of a hypothesis by p(change | it, row) alone, as published code does.

    The evidence of the parent is left out, so that a hypothesis that explains the row badly keeps its weight. It is
    here to show what this costs.
    """

    name = "conditional-beam"

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        self.parents = tracks.log_weight
        return super().branch(tracks, rate)

    def prune(self, tracks: Tracks) -> np.ndarray:
        if len(tracks.log_weight) > 1:  # not at the first row, before which nothing can have changed
            pairs = tracks.log_weight.reshape(-1, 2)
            conditional = pairs - logsumexp(pairs, axis=1, keepdims=True)
            tracks.log_weight[:] = (self.parents[:, None] + conditional).reshape(-1)
        return super().prune(tracks)


METHODS: dict[str, Callable[[], tuple[Broadening, Tracker]]] = {
    "never forgets (VCL)": lambda: (Temper(), NoChange()),
    "temper, .8": lambda: (Temper(0.8, 1e-3), Always()),
    "bank": lambda: (Temper(), Bank()),
    "VBS, K = 1, β .01": lambda: (Temper(0.01, 1e-3), Beam(1, CHANGE)),
    "VBS, K = 3, β .01": lambda: (Temper(0.01, 1e-3), Beam(3, CHANGE)),
    "VBS, K = 6, β .1": lambda: (Temper(0.1, 1e-3), Beam(6, CHANGE)),
    "VBS, K = 6, β .1, parent's evidence dropped": lambda: (Temper(0.1, 1e-3), ConditionalBeam(6, CHANGE)),
    "run length": lambda: (Reset(), RunLength(20, CHANGE)),
}


def measured(name: str, seed: int) -> dict[str, Any]:
    """NLL before each row, and how many changes were found."""
    data = world(seed)
    rule, tracker = METHODS[name]()
    one = Filter(Linear(VARIANCE**0.5), FEATURES, broadening=rule, tracker=tracker)
    ran = filtered(one, data.x, data.y)
    return {
        "nll": float(ran.loss.mean()),
        "found": len(ran.found),
        "true": len(data.changes),
        "matched": measures.found_changes(ran.found, data.changes, TOLERANCE),
        "rows_per_second": ROWS / ran.seconds,
    }
