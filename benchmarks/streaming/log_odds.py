"""Methods on Elec2's log-odds (:func:`streaming.recorded.log_odds`), with noise of variance .01 and prior N(0, 1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from streaming import measures, recorded, river_peers
from streaming.filtering import filtered
from szilard.adapt import Filter
from szilard.adapt.broadening import Broadening, Temper, TowardsPrior
from szilard.adapt.observations import Linear
from szilard.adapt.trackers import Always, Bank, Beam, NoChange, Tracker

NOISE = 0.1
BETA, FLOOR = 1 / 1.2, 1e-6  # of tempering, as published; without a floor precisions would vanish
METHODS: dict[str, Callable[[], tuple[Broadening, Tracker]]] = {
    "never forgets (VCL)": lambda: (Temper(), NoChange()),
    "Bayesian forgetting, .98": lambda: (TowardsPrior(0.98), Always()),
    "temper, 1/1.2": lambda: (Temper(BETA, FLOOR), Always()),
    "greedy search (VBS, K = 1)": lambda: (Temper(BETA, FLOOR), Beam(1, 0.5)),
    "beam search (VBS, K = 6)": lambda: (Temper(BETA, FLOOR), Beam(6, 0.5)),
    "bank": lambda: (Temper(), Bank()),
}
PERSISTENCE = "persistence"
RIVER = {"river, never forgets": 1.0, "river, smoothing .98": 0.98}
NAMES = (PERSISTENCE, *METHODS, *RIVER)


def measured(root: Path, name: str) -> dict[str, Any]:
    """MCAE × 100 of a method, and on which share of the rows its most probable hypothesis is a change."""
    data = recorded.log_odds(root)
    if name == PERSISTENCE:
        return {"mcae": _score(data.before, data)}
    if name in RIVER:
        means, why = river_peers.log_odds(data.x, data.y, RIVER[name], NOISE)
        return {"mcae": None if means is None else _score(expit(means), data), "why": why}
    rule, tracker = METHODS[name]()
    ran = filtered(Filter(Linear(NOISE), data.x.shape[1], broadening=rule, tracker=tracker), data.x, data.y)
    return {
        "mcae": _score(expit(ran.predictions[:, 0]), data),
        "changes": len(ran.found) / len(data.y) if tracker.detects else None,
        "rows_per_second": len(data.y) / ran.seconds,
    }


def _score(fraction: np.ndarray, data: recorded.LogOdds) -> float:
    return 100 * measures.mcae(np.abs(fraction - data.fraction))
