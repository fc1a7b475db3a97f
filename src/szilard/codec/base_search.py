"""How fine the base of a field should be, or none: a search over the deviation that it leaves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from szilard.codec import base
from szilard.codec.lattice import UNITS
from szilard.codec.layout import Layout

START, LEAST, MOST = 2.0, 0.25, 64.0  #: of the deviation, in bounds
_GAIN = 0.97  # of the estimate without a base: less is within the error of estimates


def search(
    points: np.ndarray, layout: Layout, coded: np.ndarray | None, length: Callable[[np.ndarray], float]
) -> float:
    """The deviation, in bounds, at which base and rest are shortest; 0: no base.

    Takes about six estimates, or three where no base pays. The waves are fitted once.

    Args:
        points: int64 ``[slices, rows · columns]``.
        layout: of the array.
        coded: which points have bins; None: all.
        length: estimates the bits of a lattice, as of ``points``; a short fit of a network ranks well.
    """
    fitted = base.fit(points, layout, coded)
    if fitted is None:
        return 0.0
    known: dict[float, float] = {}

    def bits(noise: float) -> float:
        if noise not in known:
            data = fitted.encode(noise * UNITS)
            known[noise] = np.inf
            if data is not None:
                known[noise] = 8 * len(data) + length(points - base.synthesise(data, layout))
        return known[noise]

    best = START
    for factor in (2.0, 0.5):
        while LEAST <= best * factor <= MOST and bits(best * factor) < bits(best):
            best *= factor
    best = min((best, best * 2**0.5, best / 2**0.5), key=bits)
    return best if bits(best) < _GAIN * length(points) else 0.0
