"""Tables of solve.py on weights, objectives, certificates, other codes and matrices, and products; from its results."""

from __future__ import annotations

from typing import Any

from solving import solve_figures
from solving.solve_tables import ERRORS, lost, mean

Row = dict[str, Any]
Found = dict[str, Any]
_COUNTS = ("by_support", "by_lasso", "uncertified", "fallback", "false_accepts")
WEIGHT_COLUMNS = (
    "matrix", "diagonal error", "others / bound", "largest", "symmetric: others / bound", "largest ", "AᵀA / bound",
    "largest  ",
)  # fmt: skip
LASSO_COLUMNS = ("λ / largest", "FISTA", "continuation", "celer", "skglm", "scikit-learn")
TAIL_COLUMNS = (
    "codes", "certified by support", "by the lasso", "not certified", "fell back", "false accepts", *ERRORS,
    "steps of conjugate gradients: mean", "most",
)  # fmt: skip
SHIFT_COLUMNS = ("codes", *ERRORS, "FISTA-16: λ", *(f"{name} " for name in ERRORS), "")
MATRIX_COLUMNS = ("matrix", *ERRORS, "FISTA-16: λ", *(f"{name} " for name in ERRORS))
EVENT_COLUMNS = (
    "atoms x measured, batch",
    "not zero %",
    "event ms",
    "dense ms",
    "event / dense",
    "chosen / dense",
)


def weight_body(found: Found) -> list[list[str]]:
    """Weights by matrix, the worst seed, under WEIGHT_COLUMNS."""
    rows = found.get("weights", [])
    keys = (
        "analytic_diagonal_error", "analytic_vs_bound", "analytic_coherence", "symmetric_vs_bound",
        "symmetric_coherence", "matrix_vs_bound", "matrix_coherence",
    )  # fmt: skip
    body = []
    for name in dict.fromkeys(row["matrix"] for row in rows):
        worst = [max(row[key] for row in rows if row["matrix"] == name) for key in keys]
        body.append([name, f"{worst[0]:.0e}", *(f"{value:.4f}" for value in worst[1:])])
    return body


def lasso_body(found: Found) -> list[list[str]]:
    """Relative distance from the least objective, the worst seed and sample, under LASSO_COLUMNS."""
    rows = found.get("lasso", [])
    body = []
    for share in dict.fromkeys(row["share"] for row in rows):
        mine = [row for row in rows if row["share"] == share]
        cells = [[row["above"][name] for row in mine if name in row["above"]] for name in LASSO_COLUMNS[1:]]
        body.append([
            f"{share:g}", *(f"{max(values):.1e}" if values else "" for values in cells),
        ])  # fmt: skip
    return body


def _errors(rows: list[Row], solver: str) -> list[str]:
    judged = [row[solver] for row in rows]
    return [
        *(mean([row[key] for row in judged]) for key in ("ratio_db", "mean_db", "median_db")),
        lost(judged),
    ]


def shift_body(found: Found) -> list[list[str]]:
    """Codes of other densities, amplitudes and noise, means over seeds, under SHIFT_COLUMNS."""
    rows = found.get("shifts", [])
    body = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == case]
        behind = sum(map(solve_figures.worse, mine))
        body.append(
            [*_case(case, mine), f"FISTA is better on {behind} of {len(mine)} seeds" if behind else ""]
        )
    return body


def tail_body(found: Found) -> list[list[str]]:
    """What the guard certifies, sums over seeds, under TAIL_COLUMNS."""
    rows = found.get("tail", [])
    body = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == case]
        counts = [sum(row[key] for row in mine) for key in _COUNTS]
        means = [row["cg_steps_mean"] for row in mine if row["cg_steps"] is not None]
        most = [row["cg_steps"] for row in mine if row["cg_steps"] is not None]
        body.append([
            case, *(f"{count:,}" for count in counts),
            *(mean([row[key] for row in mine]) for key in ("ratio_db", "mean_db", "median_db")), lost(mine),
            mean(means, 2), str(max(most)) if most else "",
        ])  # fmt: skip
    return body


def matrix_body(found: Found) -> list[list[str]]:
    """Other matrices, means over seeds, under MATRIX_COLUMNS."""
    rows = found.get("matrices", [])
    return [
        _case(name, [row for row in rows if row["matrix"] == name])
        for name in dict.fromkeys(row["matrix"] for row in rows)
    ]


def _case(name: str, rows: list[Row]) -> list[str]:
    penalties = ", ".join(dict.fromkeys(row["fista_setting"].removeprefix("λ = ") for row in rows))
    return [name, *_errors(rows, "hyperlista"), penalties, *_errors(rows, "fista16")]


def event_body(found: Found) -> list[list[str]]:
    """Event products against dense ones, under EVENT_COLUMNS."""
    return [
        [
            f"{row['atoms']} x {row['measured']}, {row['batch']}",
            f"{100 * row['share']:g}",
            f"{1000 * row['event_seconds']:.3f}",
            f"{1000 * row['dense_seconds']:.3f}",
            f"{row['event_vs_dense']:.2f}",
            f"{row['chosen_vs_dense']:.2f}",
        ]
        for row in found.get("events", [])
    ]
