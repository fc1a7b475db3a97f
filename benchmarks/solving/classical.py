"""ISTA, FISTA, continuation and OMP at their best: settings for a goal, found by a look at the codes themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from solving.judging import RECOVERED_DB
from solving.problems import Problem
from szilard.solve import FISTA, OMP, ContinuationFISTA
from szilard.solve.samples import batch_error_db
from szilard.solve.solver import Solver

#: λ that are tried; small ones are slow, and large ones are too biased.
PENALTIES = (0.0025, 0.003, 0.0035, 0.004, 0.005, 0.006, 0.007, 0.008, 0.01, 0.012)
PENALTIES_ISTA = (0.003, 0.004, 0.005)
PENALTIES_16 = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0)
DECREASES = (0.7, 0.75, 0.79, 0.83, 0.88)
LONGEST = (1.0, 2.0, 3.0, 4.0)
TOLERANCES = (0.1, 0.05, 0.03, 0.02, 0.01, 0.003, 0.001, 1e-4)  # of ‖b - A x‖ / ‖b‖
_MOST = 5000


class Reached(NamedTuple):
    """A solver, and how many of its layers reach -40 dB."""

    solver: Solver
    layers: int
    setting: str


def layers_to(solver: Solver, problem: Problem, most: int, limit: float = RECOVERED_DB) -> int | None:
    """How many layers reach an error, that of summed squares; None: more than ``most``."""
    state = solver.init(problem.b)
    for layer in range(1, most + 1):
        state = solver.step(state)
        if batch_error_db(solver.codes(state), problem.x) <= limit:
            return layer
    return None


def quickest(make: Iterable[tuple[str, Callable[[], Solver]]], problem: Problem) -> Reached | None:
    """The solver that reaches -40 dB in the fewest layers, from ``(setting, function that makes it)``."""
    best: Reached | None = None
    for setting, function in make:
        solver = function()
        layers = layers_to(solver, problem, _MOST if best is None else best.layers - 1)
        if layers is not None:
            best = Reached(solver, layers, setting)
    return best


def over_penalties(
    kind: Callable[..., Solver], problem: Problem, penalties: Iterable[float] = PENALTIES
) -> Reached | None:
    """ISTA or FISTA with the λ that reaches -40 dB in the fewest iterations."""
    return quickest(
        ((f"λ = {penalty:g}", lambda penalty=penalty: kind(problem.A, penalty)) for penalty in penalties),
        problem,
    )


def continuation(problem: Problem, penalties: Iterable[float] = PENALTIES) -> Reached | None:
    """FISTA with continuation, with the λ, decrease and first step that reach -40 dB in the fewest iterations."""
    return quickest(
        (
            (
                f"λ = {penalty:g}, decrease {decrease:g}, first step {longest:g} / L",
                lambda penalty=penalty, decrease=decrease, longest=longest: ContinuationFISTA(
                    problem.A, penalty, decrease=decrease, longest=longest
                ),
            )
            for penalty in penalties
            for decrease in DECREASES
            for longest in LONGEST
        ),
        problem,
    )


def omp(problem: Problem) -> Reached | None:
    """OMP with the loosest tolerance that reaches -40 dB; ``layers`` is how many entries the densest sample has."""
    for tolerance in TOLERANCES:
        solver = OMP(problem.A, tolerance=tolerance)
        state = solver(problem.b)
        if batch_error_db(state.x, problem.x) <= RECOVERED_DB:
            return Reached(solver, state.layer, f"residual {tolerance:g}")
    return None


def omp_exact(problem: Problem) -> Reached:
    """OMP until its residual is a matter of rounding."""
    solver = OMP(problem.A)
    return Reached(solver, solver(problem.b).layer, f"residual {solver.tolerance:g}")


def best_after(
    problem: Problem,
    layers: int,
    kind: Callable[..., Solver] = FISTA,
    penalties: Iterable[float] = PENALTIES_16,
) -> tuple[Solver, str]:
    """ISTA or FISTA with the λ whose error after some layers is least, and what it is."""
    tried = []
    for penalty in penalties:
        solver = kind(problem.A, penalty)
        tried.append((batch_error_db(solver(problem.b, layers=layers).x, problem.x), penalty, solver))
    _, penalty, solver = min(tried, key=lambda entry: entry[:2])
    return solver, f"λ = {penalty:g}"
