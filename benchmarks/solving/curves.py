"""Errors after every layer and seconds until it, of every solver."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from solving import contestants
from solving.contestants import Contestant
from solving.judging import Row, judged
from solving.problems import BATCH, LAYERS, Problem, Settings

_KEPT = ("ratio_db", "mean_db", "median_db", "lost")
_GROWTH = 1.12  # of layers that are kept beyond 16
_LONG, _LONG_ROUNDS = 300, 3  # layers from which on durations are measured this often


def measured(known: Problem, settings: Settings, seed: int) -> list[Row]:
    """A row for each solver: how it was made, errors on all samples and seconds of a batch, by layer."""
    made = contestants.contestants(known, settings, seed)
    durations = seconds(made, known.first(BATCH), settings)
    return [
        {
            "seed": seed, "method": one.name, "setting": one.setting, "numbers": one.numbers,
            "made_seconds": one.seconds, "samples": len(known.b), "layers": kept_layers(one.layers),
            **errors(one, known), "seconds": durations[one.name],
            **({"c": one.solver.numbers.tolist()} if one.name.startswith("HyperLISTA") else {}),
        }
        for one in made
    ]  # fmt: skip


def kept_layers(layers: int) -> list[int]:
    """Numbers of layers whose errors are kept: the first 16, and then fewer and fewer, and the last."""
    kept = list(range(1, min(layers, LAYERS) + 1))
    while kept and kept[-1] < layers:
        kept.append(min(layers, max(kept[-1] + 1, round(kept[-1] * _GROWTH))))
    return kept


@torch.no_grad()
def errors(one: Contestant, known: Problem) -> dict[str, list[float]]:
    """Errors after the layers that are kept."""
    found: dict[str, list[float]] = {name: [] for name in _KEPT}
    state, kept = one.solver.init(known.b), set(kept_layers(one.layers))
    for layer in range(1, one.layers + 1):
        state = one.solver.step(state)
        if layer in kept:
            error = judged(one.solver.codes(state), known.x)
            for name in _KEPT:
                found[name].append(round(error[name], 3))
    return found


@torch.no_grad()
def seconds(made: list[Contestant], known: Problem, settings: Settings) -> dict[str, list[float]]:
    """Seconds from the measurements to the layers that are kept: medians of rounds in which solvers take turns."""
    found: dict[str, list[list[float]]] = {one.name: [] for one in made}
    for turn in range(-1, settings.repeats):  # the first is not counted
        for one in made:
            if one.layers > _LONG and turn >= _LONG_ROUNDS:
                continue
            marks = _marks(one, known, settings.device)
            if turn >= 0:
                found[one.name].append(marks)
    return {
        name: [statistics.median(marks) for marks in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }


def _marks(one: Contestant, known: Problem, device: str) -> list[float]:
    kept, marks = set(kept_layers(one.layers)), []
    clock: Any = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    started = clock()
    state = one.solver.init(known.b)
    for layer in range(1, one.layers + 1):
        state = one.solver.step(state)
        if layer in kept:
            if device != "cpu":
                torch.cuda.synchronize()
            marks.append(clock() - started)
    return marks
