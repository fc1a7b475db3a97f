"""Presets of the filter and peers on streams with two classes (:func:`streaming.recorded.labels`)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from streaming import measures, recorded, river_peers
from streaming.single_rates import Recorded
from szilard.adapt import PRESETS, OnlineClassifier
from szilard.adapt.observations import Observation
from szilard.adapt.trackers import RATES

PERSISTENCE = "persistence"
TRUST = 0.9  # a persistent probability of the last label, at the start; then its share so far


def names(quick: bool) -> list[str]:
    """All methods: the last label, the presets, and those of river that are installed."""
    peers = [name for name in river_peers.CLASSIFIERS if not (quick and name in river_peers.FULL_ONLY)]
    found = [f"river, {name}" for name in peers] if river_peers.installed() else []
    return [*PRESETS, PERSISTENCE, *found]


class RecordedClassifier(OnlineClassifier):
    """A learner that keeps the evidence of each hypothesis."""

    def _start(self, observation: Observation) -> None:
        super()._start(Recorded(observation))


def measured(root: Path, stream: str, name: str) -> dict[str, Any]:
    """NLL and accuracy of a method before each row; of the bank also the NLL of each rate alone.

    Until both classes have occurred, every method is given the probability .5.
    """
    data = recorded.labels(root, stream)
    rates, seconds = None, None
    if name == PERSISTENCE:
        positive = persistent(data.y)
    elif name.startswith("river, "):
        positive, seconds = before_each_row(river_peers.classifier(name.removeprefix("river, ")), data)
    else:
        learner = RecordedClassifier(name)
        positive, seconds = before_each_row(learner, data)
        if name == "bank":
            rates = of_rates(learner, data.both)
    positive[: data.both] = 0.5
    losses = measures.nll(positive, data.y)
    return {
        "nll": float(losses.mean()),
        "accuracy": measures.accuracy(positive, data.y),
        "blocks": measures.block_means(losses, recorded.MONTH[stream]).tolist(),
        "rows_per_second": None if seconds is None else len(data.y) / seconds,
        "rates": rates,
    }


def before_each_row(model: Any, data: recorded.Labels) -> tuple[np.ndarray, float]:
    """Probabilities of class 1, each before its row is learned, ``[N]``, and processor seconds.

    Args:
        model: with ``predict_proba_one`` and ``learn_one``.
        data: the rows, given as dicts.
    """
    positive = np.full(len(data.y), 0.5)
    names = [f"x{place}" for place in range(data.x.shape[1])]
    rows = [dict(zip(names, values, strict=True)) for values in data.x.tolist()]
    labels: list[int] = data.y.tolist()
    started = time.process_time()
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        positive[place] = model.predict_proba_one(row).get(1, 0.0)
        model.learn_one(row, label)
    return positive, time.process_time() - started


def of_rates(learner: OnlineClassifier, both: int) -> dict[str, float]:
    """NLL of each rate of a bank alone, by the rules that hold for all methods."""
    observation = learner.filter_.observation
    assert isinstance(observation, Recorded)
    logs = np.clip(np.stack(observation.evidence), np.log(measures.LEAST), np.log1p(-measures.LEAST))
    logs[:both] = np.log(0.5)
    return dict(zip(map(str, RATES), (-logs.mean(0)).tolist(), strict=True))


def persistent(y: np.ndarray) -> np.ndarray:
    """Probabilities of class 1 if the last label repeats with the frequency that it has had so far, ``[N]``."""
    same = y[1:] == y[:-1]
    seen = np.arange(len(same))
    share = (np.cumsum(same) - same + 10 * TRUST) / (seen + 10)
    return np.append(0.5, np.where(y[:-1] == 1, share, 1 - share))
