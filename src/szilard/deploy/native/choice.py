"""Whether a weight is stored sparse or dense in a program: whichever is faster on this machine, measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from szilard.deploy.native.layers import dense
from szilard.deploy.native.sharing import TracedProgram
from szilard.deploy.native.traced import Sparse, Traced, Weight, made

_ROUNDS = 7
_TURN = 1e-3  # seconds of a turn
_MARGIN = 0.95  # the dense weight is taken only if it is clearly faster

Layer = Callable[[Traced, Weight], Traced]


class Faster:
    """Measures each layer once and remembers what was chosen.

    Attributes:
        chosen: for each layer, how its weight is stored and the two times in seconds.
    """

    def __init__(self, batch: int, moments: bool, threads: int) -> None:
        self.batch, self.moments, self.threads = batch, moments, threads
        self.chosen: dict[str, tuple[str, float, float]] = {}

    def __call__(self, name: str, x: Traced, weight: Sparse, layer: Layer) -> Weight:
        if name not in self.chosen:
            seconds = self._measured(x.sizes, {"sparse": weight, "dense": dense(weight)}, layer)
            best = "dense" if seconds["dense"] < _MARGIN * seconds["sparse"] else "sparse"
            self.chosen[name] = (best, seconds["sparse"], seconds["dense"])
        return dense(weight) if self.chosen[name][0] == "dense" else weight

    def _measured(self, shape: tuple[int, ...], ways: dict[str, Weight], layer: Layer) -> dict[str, float]:
        """Seconds of the layer alone in its fastest turn, which other programs disturbed least."""
        calls = {}
        for way, weight in ways.items():
            program = TracedProgram(self.batch, self.moments)
            output = layer(made(program, program.input(shape)), weight).value
            calls[way] = program.finish(output, self.threads)
        x = torch.rand(self.batch, *shape, generator=torch.Generator().manual_seed(0))
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(_ROUNDS + 1):
            for way, call in calls.items():
                count, started = 0, time.perf_counter()
                while True:
                    call(x)
                    count += 1
                    if (elapsed := time.perf_counter() - started) >= _TURN:
                        break
                if number:
                    seconds[way].append(elapsed / count)
        return {way: min(found) for way, found in seconds.items()}

    def lines(self) -> list[str]:
        """What was decided, a line for each layer."""
        return [
            f"{name or 'the layer'}: {way} weight ({_micro(sparse)} sparse, {_micro(full)} dense)"
            for name, (way, sparse, full) in self.chosen.items()
        ]


def _micro(seconds: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(seconds * 1e6))) if seconds > 0 else 0
    return f"{seconds * 1e6:.{digits}f} µs"
