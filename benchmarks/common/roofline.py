"""Roofline of this machine: peak FLOP/s, and peak memory bandwidth in bytes/s."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SIDE = 2048  # of the matrices of the product
TRIAD = 1 << 25  # elements of each of the triad's three arrays: 128 MiB, larger than any cache


@dataclass(frozen=True)
class Roof:
    """Measured with torch's current number of threads.

    Attributes:
        flops: FLOP/s of a large dense matrix product.
        bandwidth: bytes/s of a triad ``a = b + s c`` over arrays larger than the caches.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, repetitions: int = 7) -> Roof:
        """Measure both; each is the best of several repetitions."""
        left, right, out = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE), torch.empty(SIDE, SIDE)
        product = best(lambda: torch.mm(left, right, out=out), repetitions)
        a, b, c = torch.empty(TRIAD), torch.rand(TRIAD), torch.rand(TRIAD)
        triad = best(lambda: torch.add(b, c, alpha=3.0, out=a), repetitions)
        return cls(2 * SIDE**3 / product, 3 * 4 * TRIAD / triad)

    def seconds(self, flops: float, moved: float) -> float:
        """Lower bound of the time for ``flops`` FLOPs and ``moved`` bytes: max(flops / peak, bytes / bandwidth).

        Equal to flops / min(peak, intensity * bandwidth) with intensity = flops / bytes. Arrays that fit into a cache
        can be faster than the second term.
        """
        return max(flops / self.flops, moved / self.bandwidth)


def best(run: Callable[[], object], repetitions: int) -> float:
    """Least seconds of several repetitions, after one that is not counted."""
    run()
    found = []
    for _ in range(repetitions):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)
