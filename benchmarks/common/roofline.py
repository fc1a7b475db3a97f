"""What this machine can do at most: multiply-adds a second, and bytes a second to and from memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

SIDE = 2048  # of the matrices of the product
TRIAD = 1 << 25  # elements of each of the triad's three arrays: 128 MiB, larger than any cache


@dataclass(frozen=True)
class Roof:
    """Measured with the threads that torch has at that moment.

    Attributes:
        flops: FLOP/s of a large dense product, the highest rate of multiply-adds that is reached in practice.
        bandwidth: bytes/s of a triad ``a = b + s c`` over arrays that no cache holds.
    """

    flops: float
    bandwidth: float

    @classmethod
    def measure(cls, repetitions: int = 7) -> Roof:
        """The best of several tries each: a roof is a maximum."""
        left, right, out = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE), torch.empty(SIDE, SIDE)
        product = best(lambda: torch.mm(left, right, out=out), repetitions)
        a, b, c = torch.empty(TRIAD), torch.rand(TRIAD), torch.rand(TRIAD)
        triad = best(lambda: torch.add(b, c, alpha=3.0, out=a), repetitions)
        return cls(2 * SIDE**3 / product, 3 * 4 * TRIAD / triad)

    def seconds(self, flops: float, moved: float) -> float:
        """The least time for so many FLOPs on so many bytes: max(flops / peak, bytes / bandwidth).

        The same as flops / min(peak, intensity * bandwidth) with intensity = flops / bytes. What fits a cache
        can beat the second term.
        """
        return max(flops / self.flops, moved / self.bandwidth)


def best(run: Callable[[], object], repetitions: int) -> float:
    """Least seconds of a few tries, after one that is not counted."""
    run()
    found = []
    for _ in range(repetitions):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)
