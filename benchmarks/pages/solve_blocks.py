"""Blocks on solvers for sparse codes, for any page that names them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from common import machine
from pages.results import NotMeasured, lines, markdown
from solving import other_tables, solve_figures, solve_tables


def section() -> dict[str, Any]:
    """The results of solve.py."""
    found: dict[str, Any] = json.loads("\n".join(lines("solve.json")))
    return found


def table(columns: Sequence[str], body: Callable[[dict[str, Any]], list[list[str]]]) -> str:
    rows = body(section())
    if not rows:
        raise NotMeasured(f"solve.json has no table of {columns[0]}")
    return markdown(columns, rows)


def measured_on() -> str:
    """Machine, versions and durations, one line for each part."""
    found, texts = section(), []
    for part, run in found["runs"].items():
        how = "`--quick`" if run["quick"] else "full"
        texts.append(
            f"- {part}: {how}, {run['device']}, {run['seconds'] / 60:.1f} minutes; {machine.line(run['machine'])}."
        )
    versions = {name: version for run in found["runs"].values() for name, version in run["peers"].items()}
    return "\n".join([*texts, "- peers: " + ", ".join(f"{name} {versions[name]}" for name in versions) + "."])


def reading() -> str:
    """The main figures in sentences, with what misses its gate."""
    found = section()
    known = solve_figures.figures(found)
    needed = ("hyperlista16_db", "layers_to_40db", "fista_time_vs_hyperlista", "omp_time_vs_hyperlista")
    if any(known[name] is None for name in needed):
        raise NotMeasured("solve.json has no curves or no times")
    text = (
        "OMP is exact in this setting, and so is the lasso as λ falls; what unrolled solvers save is time. HyperLISTA "
        f"is at {known['hyperlista16_db']:.0f} dB after 16 layers, and below -40 dB after "
        f"{known['layers_to_40db']:g}. Iterations to -40 dB: {_all('iterations_to_40db', 0)}. Seconds to -40 dB over "
        f"HyperLISTA's: {_all('time_vs_hyperlista', 1)}"
    )
    missed = solve_figures.missed(found)
    if not missed:
        return f"{text}. No figure misses its gate."
    return f"{text}. Missed:\n\n" + "\n".join(f"- {line}" for line in missed)


def _all(ending: str, digits: int) -> str:
    """A figure of ISTA, FISTA, continuation and OMP, which stand together wherever one is quoted."""
    known = solve_figures.figures(section())
    names = {**solve_figures.ITERATIONS, "continuation": "FISTA with continuation"}
    return ", ".join(
        f"{name} {value:,.{digits}f}"
        for key, name in names.items()
        if (value := known[f"{key}_{ending}"]) is not None
    )


BLOCKS: dict[str, Callable[[], str]] = {
    "solve-machine": measured_on,
    "solve-reading": reading,
    "solve-guide": lambda: table(solve_tables.GUIDE_COLUMNS, solve_tables.guide_body),
    "solve-figures": lambda: table(solve_tables.FIGURE_COLUMNS, solve_tables.figure_body),
    "solve-ratios": lambda: table(solve_tables.RATIO_COLUMNS, solve_tables.ratio_body),
    "solve-times": lambda: table(solve_tables.TIME_COLUMNS, solve_tables.time_body),
    "solve-curves": lambda: table(solve_tables.CURVE_COLUMNS, solve_tables.curve_body),
    "solve-layers": lambda: table(solve_tables.LAYER_COLUMNS, solve_tables.layer_body),
    "solve-later": lambda: table(solve_tables.LATER_COLUMNS, solve_tables.later_body),
    "solve-shares": lambda: table(solve_tables.SHARE_COLUMNS, solve_tables.share_body),
    "solve-weights": lambda: table(other_tables.WEIGHT_COLUMNS, other_tables.weight_body),
    "solve-lasso": lambda: table(other_tables.LASSO_COLUMNS, other_tables.lasso_body),
    "solve-tail": lambda: table(other_tables.TAIL_COLUMNS, other_tables.tail_body),
    "solve-shifts": lambda: table(other_tables.SHIFT_COLUMNS, other_tables.shift_body),
    "solve-matrices": lambda: table(other_tables.MATRIX_COLUMNS, other_tables.matrix_body),
    "solve-events": lambda: table(other_tables.EVENT_COLUMNS, other_tables.event_body),
}
