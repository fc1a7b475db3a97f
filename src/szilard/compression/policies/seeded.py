"""The random numbers of a searcher: a stream of its own for each trial, from the seed and the trial's number."""

from __future__ import annotations

import numpy as np


def seeded(seed: int, trial: int, use: int = 0) -> np.random.Generator:
    """The random numbers of one trial, whatever was drawn in others.

    Args:
        seed: of the search.
        trial: number of the trial, from 0.
        use: tells apart several streams of the same trial.
    """
    return np.random.default_rng([seed % (1 << 64), trial, use])
