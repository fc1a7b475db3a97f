"""When the world changed, from the hypotheses of a filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from szilard.adapt.trackers import Tracks


@dataclass(frozen=True)
class Change:
    """A change that has become probable.

    Attributes:
        row: the first row after the change, counted from 0.
        found: the row at which it became probable.
        probability: that the world changed after the last change that was found.
    """

    row: int
    found: int
    probability: float


class Changes:
    """Finds changes: the probability that there was one since the last that was found exceeds ``threshold``.

    The row is the most probable one among the hypotheses with a later change.

    Args:
        threshold: between 0 and 1.
    """

    def __init__(self, threshold: float = 0.9) -> None:
        self.threshold = threshold
        self.last = -1

    def look(self, tracks: Tracks, row: int) -> Change | None:
        """The change that became probable at this row, or None."""
        later = tracks.last_change > self.last
        if not later.any():
            return None
        weights = np.exp(tracks.log_weight) * later
        if weights.sum() <= self.threshold:
            return None
        rows, place = np.unique(tracks.last_change[later], return_inverse=True)
        masses = np.bincount(place, weights[later])
        self.last = int(rows[masses.argmax()])
        return Change(self.last, row, min(float(weights.sum()), 1.0))
