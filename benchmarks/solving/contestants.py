"""Every solver of the curves, made for one matrix: tuned, trained, or with the λ that is best for a goal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.harness import progress
from solving import ablation, classical
from solving.ablation import Numbers
from solving.problems import BATCH, DENSITY, LAYERS, Problem, Settings, problem
from szilard.solve import (
    ALISTA,
    FISTA,
    ISTA,
    LISTA,
    LISTACP,
    NAALISTA,
    CodePrior,
    HyperLISTA,
    StepLISTA,
    TiLISTA,
)
from szilard.solve.learned import Learned
from szilard.solve.solver import Solver

_ABLATION_SAMPLES = 96


@dataclass(frozen=True)
class Contestant:
    """A solver of the curves.

    Attributes:
        name: for tables.
        solver: ready to be called.
        layers: that are shown.
        setting: what was chosen, in words.
        numbers: how many were learned or tuned.
        seconds: of the processor, for tuning or training.
    """

    name: str
    solver: Solver
    layers: int
    setting: str
    numbers: int = 0
    seconds: float = 0.0


def contestants(known: Problem, settings: Settings, seed: int) -> list[Contestant]:
    """All solvers for the matrix of a problem; λ and tolerances are chosen on the problem itself."""
    tuned, numbers = tuned_hyperlista(known, seed)
    made = [tuned]
    for name, place in ablation.WITHOUT.items():
        fewer = problem(known.A, _ABLATION_SAMPLES, 50_000 + seed, device=settings.device)
        started = time.process_time()
        found = ablation.searched(fewer, numbers, place, LAYERS, seed)
        seconds = time.process_time() - started
        solver = HyperLISTA(known.A, LAYERS, found)
        made.append(Contestant(f"HyperLISTA {name}", solver, LAYERS, _words(found), 2, seconds))
    made += [trained(*entry, known, settings, seed) for entry in _learned(known, settings)]
    return made + _classical(known)


def tuned_hyperlista(known: Problem, seed: int) -> tuple[Contestant, Numbers]:
    """HyperLISTA whose numbers were searched for on synthetic codes, none of them of the problem."""
    started = time.process_time()
    solver = HyperLISTA(known.A, LAYERS).tune(DENSITY, seed=seed)
    seconds = time.process_time() - started
    first, second, third = solver.numbers.tolist()
    numbers = (first, second, third)
    return Contestant("HyperLISTA", solver, LAYERS, _words(numbers), len(numbers), seconds), numbers


def trained(
    name: str, make: Callable[[], Learned], steps: int, known: Problem, settings: Settings, seed: int
) -> Contestant:
    """A learned solver, trained on synthetic codes of its matrix, none of them of the problem."""
    started = time.process_time()
    solver = make().fit(CodePrior(DENSITY), seed=seed, steps=steps)
    seconds = time.process_time() - started
    report: dict[str, Any] = solver.training_report
    progress(f"{name}, seed {seed}: {seconds:.0f} s, validation loss {report['loss']:.2f}")
    m, n = known.A.shape
    words = f"{report['steps']:,} steps of Adam, {report['schedule']}"
    return Contestant(name, solver, LAYERS, words, type(solver).count(m, n, LAYERS), seconds)


def _learned(known: Problem, settings: Settings) -> list[tuple[str, Callable[[], Learned], int]]:
    A, (few, many) = known.A, settings.steps
    needed: list[tuple[str, Callable[[], Learned], int]] = [
        ("ALISTA", lambda: ALISTA(A, LAYERS), few),
        ("ALISTA without selection", lambda: ALISTA(A, LAYERS, selection=None), few),
        ("LISTA-CPSS", lambda: LISTACP(A, LAYERS), many),
    ]
    extra: list[tuple[str, Callable[[], Learned], int]] = [
        ("NA-ALISTA", lambda: NAALISTA(A, LAYERS), many),
        ("TiLISTA", lambda: TiLISTA(A, LAYERS), many),
        ("LISTA-CP", lambda: LISTACP(A, LAYERS, selection=None), many),
        ("LISTA", lambda: LISTA(A, LAYERS), many),
        ("StepLISTA", lambda: StepLISTA(A, 0.1, LAYERS), few),
    ]
    return needed + (extra if settings.extra else [])


def _classical(known: Problem) -> list[Contestant]:
    few = known.first(BATCH)
    best16, setting16 = classical.best_after(few, LAYERS)
    made = [Contestant("FISTA, λ for 16", best16, LAYERS, setting16)]
    reached = {
        "FISTA": classical.over_penalties(FISTA, few),
        "FISTA, continuation": classical.continuation(few),
        "OMP": classical.omp_exact(few),
        "ISTA": classical.over_penalties(ISTA, few, classical.PENALTIES_ISTA),
    }
    return made + [
        Contestant(name, found.solver, _beyond(name, found.layers), found.setting)
        for name, found in reached.items()
        if found is not None
    ]


def _beyond(name: str, layers: int) -> int:
    """A few layers more than -40 dB needs, so that curves show where the λ lets them end."""
    return layers if name == "OMP" else round(1.25 * layers)


def _words(numbers: Numbers) -> str:
    return "c = " + ", ".join(f"{number:.4g}" for number in numbers)
