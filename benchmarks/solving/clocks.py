"""Durations of calls that take turns, so that the load of the machine is the same for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def seconds(call: Callable[[], Any], device: str = "cpu") -> float:
    """Seconds of one call: of the processor, and on a GPU those until it is idle."""
    if device == "cpu":
        started = time.process_time()
        call()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def in_turns(
    calls: Mapping[str, Callable[[], Any]], repeats: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of each call in each round; a first round is not counted."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            found[name].append(seconds(call, device))
    return found


def ratio(found: Mapping[str, list[float]], above: str, below: str) -> float:
    """The median over rounds of one call's seconds over another's."""
    return statistics.median(a / b for a, b in zip(found[above], found[below], strict=True))
