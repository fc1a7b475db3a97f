"""Figures of solve.py and their gates, from its results: those of the worst seed, and medians of ratios of time."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from solving import events, tails
from solving.judging import first_below
from solving.problems import LAYERS
from solving.timed import OURS
from solving.transfer import PERTURBED

Row = dict[str, Any]
Found = dict[str, Any]
#: Sign, gate and goal of each figure; None: there is none.
GATES: dict[str, tuple[str, float | None, float | None]] = {
    "hyperlista16_db": ("≤", -60, -92),
    "hyperlista_numbers": ("=", 3, None),
    "without_momentum_loss_db": ("≥", 10, None),
    "without_selection_loss_db": ("≥", 25, None),
    "alista16_db": ("≤", -50, None),
    "alista16_without_selection_db": ("≤", -35, None),
    "lista_cpss16_db": ("≤", None, -45),
    "layers_to_40db": ("≤", 9, None),
    "fista_time_vs_hyperlista": ("≥", 10, 20),
    "continuation_time_vs_hyperlista": ("≥", 4, 8),
    "weight_diagonal_error": ("≤", 1e-12, None),
    "weight_offdiagonal_vs_bound": ("≤", 1.005, None),
    "lasso_gap": ("≤", 1e-6, None),
    "cg_steps": ("≤", 12, None),
    "false_accepts": ("=", 0, None),
    "shifts_worse_than_fista16": ("=", 0, None),
    "held_out_matrices_db": ("≤", None, -60),
    "event_product_vs_dense": ("≤", 0.5, None),
}
#: Figures that are iterations to -40 dB, and those that are seconds over HyperLISTA's, by row of the times.
ITERATIONS = {"ista": "ISTA", "fista": "FISTA", "continuation": "FISTA, continuation", "omp": "OMP"}
RATIOS = {
    **ITERATIONS,
    "celer": "celer",
    "skglm": "skglm",
    "sklearn": "scikit-learn",
    "sklearn_omp": "scikit-learn, OMP",
}


def figures(found: Found) -> dict[str, float | None]:
    """The keys of the last line; None for what was not measured."""
    standard = [row for row in found.get("weights", []) if row["matrix"] == "Gaussian, 250 x 500"]
    matrices = [row for row in found.get("matrices", []) if row["matrix"] != PERTURBED]
    perturbed = [row for row in found.get("matrices", []) if row["matrix"] == PERTURBED]
    tail = found.get("tail", [])
    return {
        "hyperlista16_db": _most(at16(found, OURS)),
        "hyperlista_numbers": _most(row["numbers"] for row in curves(found, OURS)),
        "without_momentum_loss_db": _least(loss(found, "HyperLISTA without momentum")),
        "without_selection_loss_db": _least(loss(found, "HyperLISTA without selection")),
        "alista16_db": _most(at16(found, "ALISTA")),
        "alista16_without_selection_db": _most(at16(found, "ALISTA without selection")),
        "lista_cpss16_db": _most(at16(found, "LISTA-CPSS")),
        "layers_to_40db": _most(
            float(first_below(row["ratio_db"]) or float("inf")) for row in curves(found, OURS)
        ),
        **{
            f"{key}_iterations_to_40db": _median(_times(found, row, "layers"))
            for key, row in ITERATIONS.items()
        },
        **{
            f"{key}_time_vs_hyperlista": _median(_times(found, row, "over_ours"))
            for key, row in RATIOS.items()
        },
        "weight_diagonal_error": _most(row["analytic_diagonal_error"] for row in standard),
        "weight_offdiagonal_vs_bound": _most(row["analytic_vs_bound"] for row in standard),
        "lasso_gap": _most(row["gap"] for row in found.get("lasso", [])),
        "cg_steps": _most(
            row["cg_steps"] for row in tail if row["case"] == tails.STANDARD and row["cg_steps"]
        ),
        "false_accepts": sum(row["false_accepts"] for row in tail) if tail else None,
        "shifts_worse_than_fista16": sum(map(worse, found["shifts"])) if found.get("shifts") else None,
        "held_out_matrices_db": _most(row["hyperlista"]["ratio_db"] for row in matrices),
        "perturbed_a_db": _most(row["hyperlista"]["ratio_db"] for row in perturbed),
        "event_product_vs_dense": _most(
            row["event_vs_dense"]
            for row in found.get("events", [])
            if (row["atoms"], row["measured"], row["batch"], row["share"])
            == (events.ATOMS, events.MEASURED, events.BATCH, events.SHARE)
        ),
    }


def curves(found: Found, method: str) -> list[Row]:
    """The rows of a method, one a seed."""
    return [row for row in found.get("curves", []) if row["method"] == method]


def at16(found: Found, method: str, key: str = "ratio_db") -> list[float]:
    """Errors after 16 layers, by seed."""
    return [row[key][row["layers"].index(LAYERS)] for row in curves(found, method) if LAYERS in row["layers"]]


def loss(found: Found, method: str) -> list[float]:
    """By how many dB a method is worse than HyperLISTA after 16 layers, by seed."""
    whole, part = at16(found, OURS), at16(found, method)
    return [other - one for one, other in zip(whole, part, strict=True)] if part else []


def worse(row: Row) -> bool:
    """Whether FISTA is better in either average of the errors."""
    return any(row["hyperlista"][key] > row["fista16"][key] for key in ("ratio_db", "mean_db"))


def verdict(name: str, value: float | None) -> str:
    """Whether a figure reaches its gate and its goal."""
    if name not in GATES or value is None:
        return ""
    sign, gate, goal = GATES[name]
    if gate is not None and _short_of(sign, value, gate):
        return f"MISSED by {abs(value - gate):.3g}"
    if goal is not None:
        return "goal not reached" if _short_of(sign, value, goal) else "goal reached"
    return "reached"


def missed(found: Found) -> list[str]:
    """A sentence for each figure that misses its gate; if there are any, HyperLISTA's errors and seconds by part."""
    lines = [
        f"{name} is {value:.4g}, and the gate is {GATES[name][0]} {GATES[name][1]:g}: {text}"
        for name, value in figures(found).items()
        if value is not None and (text := verdict(name, value)).startswith("MISSED")
    ]
    if not lines:
        return []
    for row in curves(found, OURS):
        errors = " ".join(f"{error:.0f}" for error in row["ratio_db"])
        lines.append(f"HyperLISTA by layer, dB, seed {row['seed']}: {errors}")
    for row in found.get("shares", []):
        parts = ", ".join(f"{part} {share:.0%}" for part, share in row["shares"].items())
        lines.append(f"{row['method']}, share of time: {parts}")
    return lines


def _short_of(sign: str, value: float, wanted: float) -> bool:
    return {"≤": value > wanted, "≥": value < wanted, "=": value != wanted}[sign]


def _times(found: Found, method: str, key: str) -> list[float]:
    return [row[key] for row in found.get("times", []) if row["method"] == method]


def _most(values: Iterable[float]) -> float | None:
    return max(values, default=None)


def _least(values: Iterable[float]) -> float | None:
    return min(values, default=None)


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
