"""A beam over when the world changed."""

from __future__ import annotations

import numpy as np

from szilard.adapt.trackers.tracker import Branches, Detecting, Tracks


class Beam(Detecting):
    """Before each row every hypothesis splits: no change, or a change, whose belief is broadened (Li et al. 2021).

    The most probable ``size`` hypotheses stay, by joint probability: the parent's, times p(change), times the evidence.

    Args:
        size: hypotheses that stay; 1 is variational greedy search.
        change: p(change) before each row.
    """

    name = "beam"

    def __init__(self, size: int = 6, change: float = 0.01) -> None:
        super().__init__(size, change)

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        number = len(tracks.log_weight)
        parents = np.repeat(np.arange(number), 2)
        changed = np.tile([False, True], number)
        prior = tracks.log_weight[parents] + np.where(changed, np.log(self.change), np.log1p(-self.change))
        return Branches(parents, np.where(changed, rate, 1.0), changed, prior)
