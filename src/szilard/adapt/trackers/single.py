"""One hypothesis: nothing ever changes, or everything always does."""

from __future__ import annotations

import numpy as np

from szilard.adapt.trackers.tracker import Branches, Tracker, Tracks


class NoChange(Tracker):
    """Every row is from the same world: sequential Bayes, or variational continual learning (Nguyen et al. 2018)."""

    name = "none"

    def start(self) -> Tracks:
        return Tracks.equal(1)

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        return Branches(np.array([0]), np.array([1.0]), np.array([False]), np.array([0.0]))


class Always(Tracker):
    """The belief is broadened before every row: exponential forgetting at one rate."""

    name = "always"

    def start(self) -> Tracks:
        return Tracks.equal(1)

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        return Branches(np.array([0]), np.array([rate]), np.array([False]), np.array([0.0]))
