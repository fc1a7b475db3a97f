"""Where the seconds of a solver go: products, threshold and momentum, selection, the error's norm, and all else."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from typing import Any
from unittest import mock

from solving import clocks
from solving.problems import BATCH, LAYERS, Problem, Settings
from szilard.solve import FISTA, HyperLISTA
from szilard.solve.solver import Solver
from szilard.sparse import ops

Row = dict[str, Any]
_PASSING = 6  # place of the number of entries that pass among shrink's arguments


def recorded(solver: Solver, problem: Problem, layers: int) -> dict[str, list[tuple[Any, ...]]]:
    """Arguments of all calls of operators in a solver's layers, by operator; ``adjoint`` are residuals."""
    calls: dict[str, list[tuple[Any, ...]]] = {
        "shrink": [],
        "product": [],
        "weighted_norm": [],
        "adjoint": [],
    }

    def spy(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            calls[name].append(arguments)
            return function(*arguments)

        return called

    with mock.patch.multiple(
        ops, **{name: spy(name, getattr(ops, name)) for name in ("shrink", "product", "weighted_norm")}
    ):
        state = solver.init(problem.b)
        for _ in range(layers):
            calls["adjoint"].append((state.residual,))
            state = solver.step(state)
    return calls


def measured(
    problem: Problem, settings: Settings, numbers: tuple[float, float, float], penalty: float
) -> list[Row]:
    """A row for HyperLISTA with its numbers, and one for FISTA with its λ, for a batch."""
    problem = problem.first(BATCH)
    solvers: dict[str, Solver] = {
        "HyperLISTA": HyperLISTA(problem.A, numbers=numbers),
        "FISTA": FISTA(problem.A, penalty),
    }
    return [{"method": name, **_parts(solver, problem, settings)} for name, solver in solvers.items()]


def _parts(solver: Solver, problem: Problem, settings: Settings) -> Row:
    calls = recorded(solver, problem, LAYERS)
    adjoint = solver.weight.transposed if isinstance(solver, HyperLISTA) else solver.operator.adjoint
    without = [(*arguments[:_PASSING], None) for arguments in calls["shrink"]]
    found = clocks.in_turns(
        {
            "all": functools.partial(solver, problem.b, layers=LAYERS),
            "adjoint": functools.partial(_each, adjoint, calls["adjoint"]),
            "product": functools.partial(_each, ops.product, calls["product"]),
            "shrink": functools.partial(_each, ops.shrink, calls["shrink"]),
            "threshold": functools.partial(_each, ops.shrink, without),
            "norm": functools.partial(_each, ops.weighted_norm, calls["weighted_norm"]),
        },
        settings.repeats,
        settings.device,
    )
    median = {name: statistics.median(values) for name, values in found.items()}
    whole = median["all"]
    parts = {
        "products": median["adjoint"] + median["product"],
        "threshold": min(median["threshold"], median["shrink"]),
        "selection": max(median["shrink"] - median["threshold"], 0.0),
        "norm": median["norm"],
    }
    shares = {name: value / whole for name, value in parts.items()}
    return {"seconds": whole, "layers": LAYERS, "shares": {**shares, "rest": 1 - sum(shares.values())}}


def _each(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> None:
    for arguments in calls:
        function(*arguments)
