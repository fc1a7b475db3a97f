"""Latency of many compiled networks beside the original one: all take turns in one process and one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from common.harness import progress
from szilard.cost.latency import Latency, latencies
from szilard.deploy import Compiled
from szilard.errors import SzilardError

ORIGINAL = "original"
ATTEMPTS = 3  # before figures of a noisy machine are taken, with a label


def timed(networks: Mapping[str, Compiled], x: Tensor, seconds: float) -> dict[str, dict[str, Any]]:
    """Milliseconds of each network for one input, and their share of the original's.

    Args:
        networks: by name, with one of the name :data:`ORIGINAL`.
        x: one input ``[1, *shape]``.
        seconds: for which they take turns at least.

    Returns:
        for each network ``ms``, ``p10`` and ``p90`` in milliseconds, ``ratio``, and ``noise``: empty, or what disturbed
        the measurement.
    """
    x = x.detach().contiguous()
    found = _measured({name: lambda run=one.run: run(x) for name, one in networks.items()}, seconds)
    reference = found[ORIGINAL].median
    return {
        name: {
            "ms": 1e3 * one.median,
            "p10": 1e3 * one.p10,
            "p90": 1e3 * one.p90,
            "ratio": one.median / reference,
            "noise": "" if one.noise.quiet else one.noise.text,
        }
        for name, one in found.items()
    }


def _measured(runs: dict[str, Any], seconds: float) -> dict[str, Latency]:
    for _ in range(ATTEMPTS - 1):
        try:
            return latencies(runs, threads=1, budget=seconds)
        except SzilardError as error:
            progress(f"measured again: {error}")
    return latencies(runs, threads=1, budget=seconds, noisy=True)
