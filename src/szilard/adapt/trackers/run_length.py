"""How long ago the world changed."""

from __future__ import annotations

import numpy as np

from szilard.adapt.trackers.tracker import Branches, Detecting, Tracks


class RunLength(Detecting):
    """One hypothesis for each row of the last change (Adams and MacKay 2007, arXiv:0710.3742).

    Before each row one new hypothesis joins: a change now. It continues the most probable one with a broadened belief,
    which is the prior under the rule ``Reset``. Its probability is ``change`` and that of the others 1 - ``change``.

    Args:
        size: hypotheses that stay after each row.
        change: p(change) before each row.
    """

    name = "run-length"

    def __init__(self, size: int = 20, change: float = 0.01) -> None:
        super().__init__(size, change)

    def branch(self, tracks: Tracks, rate: float) -> Branches:
        number = len(tracks.log_weight)
        parents = np.append(np.arange(number), np.argmax(tracks.log_weight))
        changed = np.append(np.zeros(number, dtype=bool), True)
        prior = np.append(tracks.log_weight + np.log1p(-self.change), np.log(self.change))
        return Branches(parents, np.where(changed, rate, 1.0), changed, prior)
