"""Several rates of forgetting side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from szilard.adapt.broadening import checked_rate
from szilard.adapt.trackers.tracker import Branches, Tracker, Tracks, normalised
from szilard.errors import SzilardError

RATES = (1.0, 0.999, 0.997, 0.99, 0.98, 0.95, 0.9, 0.8, 0.6, 0.3)


class Bank(Tracker):
    """A filter for each rate, mixed by their recent evidence: dynamic model averaging (Raftery et al. 2010).

    Log weights are multiplied by ``memory`` before each row, so that about the last 1 / (1 - memory) rows count and the
    rate itself can change.

    Args:
        rates: of forgetting, each between 0 and 1.
        memory: between 0 (all rates are equal) and 1 (all past rows count).
    """

    name = "bank"

    def __init__(self, rates: Sequence[float] = RATES, memory: float = 0.99) -> None:
        self.rates = tuple(checked_rate(rate, "each rate") for rate in rates)
        if not self.rates:
            raise SzilardError("a bank needs at least one rate")
        self.memory = checked_rate(memory, "memory")

    def start(self) -> Tracks:
        return Tracks.equal(len(self.rates))

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        number = len(self.rates)
        prior = normalised(self.memory * tracks.log_weight)
        return Branches(np.arange(number), np.array(self.rates), np.zeros(number, dtype=bool), prior)
