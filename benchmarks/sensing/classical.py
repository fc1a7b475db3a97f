"""FISTA on patches, as it is best: its λ and its number of iterations are chosen on training pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from szilard.solve import FISTA
from szilard.solve.state import State

PENALTIES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)  # λ
STOPS = (15, 25, 35, 50, 70, 100, 200, 400)  # iterations; the last is taken as converged
NEAR = 0.05  # dB


@dataclass(frozen=True)
class Chosen:
    """FISTA's λ and number of iterations.

    Attributes:
        penalty: λ of the best PSNR on training patches, over all penalties and stops.
        iterations: the fewest that come within 0.05 dB of that PSNR, with that λ.
        psnr: of training patches, by λ and stop, in the order of PENALTIES and STOPS.
    """

    penalty: float
    iterations: int
    psnr: list[list[float]]


def chosen(A: Tensor, atoms: Tensor, b: Tensor, truth: Tensor) -> Chosen:
    """The best settings on training patches.

    Args:
        A: Φ times the atoms ``[m, n]``.
        atoms: ``[256, n]``.
        b: measurements ``[B, m]``.
        truth: patches without their mean ``[B, 256]``.
    """
    psnr = [[_db(x @ atoms.t(), truth) for x in _stops(FISTA(A, penalty), b)] for penalty in PENALTIES]
    best = max(range(len(PENALTIES)), key=lambda number: max(psnr[number]))
    iterations = next(
        stop for stop, found in zip(STOPS, psnr[best], strict=True) if found >= max(psnr[best]) - NEAR
    )
    return Chosen(PENALTIES[best], iterations, psnr)


def _stops(solver: FISTA, b: Tensor) -> list[Tensor]:
    """Codes after each of STOPS iterations."""
    found: list[Tensor] = []
    state: State = solver.init(b)
    for stop in STOPS:
        while state.layer < stop:
            state = solver.step(state)
        found.append(solver.codes(state))
    return found


def _db(found: Tensor, truth: Tensor) -> float:
    return float(-10 * torch.log10((found - truth).double().square().mean()))


def seconds(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The least seconds of each call, of calls that take turns; of a processor, or of a GPU that is waited for."""
    least = [float("inf")] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            started = clock()
            call()
            least[number] = min(least[number], clock() - started)
    return least


def clock() -> float:
    """Seconds of this process' processor; with a GPU seconds of the wall, after its work."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()
