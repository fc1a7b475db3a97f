"""Presets of the filter and peers on streams with two classes (:func:`streaming.recorded.labels`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streaming import measures, recorded, river_peers
from streaming.filtering import filtered
from streaming.single_rates import Recorded
from szilard.adapt import PRESETS, Filter
from szilard.adapt.observations import Logistic
from szilard.adapt.trackers import RATES

PERSISTENCE = "persistence"
TRUST = 0.9  # a persistent probability of the last label, at the start; then its share so far


def names(quick: bool) -> list[str]:
    """All methods: the last label, the presets, and those of river that are installed."""
    peers = [name for name in river_peers.CLASSIFIERS if not (quick and name in river_peers.FULL_ONLY)]
    found = [f"river, {name}" for name in peers] if river_peers.installed() else []
    return [*found[::-1], *PRESETS, PERSISTENCE]  # slow ones first


def measured(root: Path, stream: str, name: str) -> dict[str, Any]:
    """NLL and accuracy of a method before each row; of the bank also the NLL of each rate alone."""
    data = recorded.labels(root, stream)
    rates = None
    if name == PERSISTENCE:
        positive, seconds = persistent(data.y), None
    elif name.startswith("river, "):
        positive, seconds = river_peers.probabilities(name.removeprefix("river, "), data.raw, data.y)
    else:
        rule, tracker = PRESETS[name].make()
        observation = Recorded(Logistic())
        one = Filter(observation, data.x.shape[1], broadening=rule, tracker=tracker)
        ran = filtered(one, data.x, data.y)
        positive, seconds = ran.predictions[:, 1], ran.seconds
        if name == "bank":
            lost = -np.maximum(np.stack(observation.evidence), np.log(measures.LEAST))
            rates = dict(zip(map(str, RATES), lost.mean(0).tolist(), strict=True))
    losses = measures.nll(positive, data.y)
    return {
        "nll": float(losses.mean()),
        "accuracy": measures.accuracy(positive, data.y),
        "blocks": measures.block_means(losses, recorded.MONTH[stream]).tolist(),
        "rows_per_second": None if seconds is None else len(data.y) / seconds,
        "rates": rates,
    }


def persistent(y: np.ndarray) -> np.ndarray:
    """Probabilities of class 1 if the last label repeats with the frequency that it has had so far, ``[N]``."""
    same = y[1:] == y[:-1]
    seen = np.arange(len(same))
    share = (np.cumsum(same) - same + 10 * TRUST) / (seen + 10)
    return np.append(0.5, np.where(y[:-1] == 1, share, 1 - share))
