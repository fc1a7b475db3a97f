"""Tables of solve.py, from its results."""

from __future__ import annotations

import statistics
from typing import Any

from solving import solve_figures
from solving.judging import first_below
from solving.problems import LAYERS
from solving.solve_figures import GATES, ITERATIONS, RATIOS, figures, verdict
from solving.timed import OURS

Row = dict[str, Any]
Found = dict[str, Any]
_COUNTS = ("by_support", "by_lasso", "uncertified", "fallback", "false_accepts")
_ERRORS = ("dB of the sums", "mean dB", "median dB", "not recovered")
FIGURE_COLUMNS = ("figure", "value", "gate", "goal", "")
CURVE_COLUMNS = (
    "method", "chosen", "numbers", "seconds to find them", *_ERRORS, "layers to -40 dB",
)  # fmt: skip
_SHOWN = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
_LATER = (32, 64, 128, 256, 512, 1024, 2048)
LAYER_COLUMNS = ("method", *map(str, _SHOWN))
LATER_COLUMNS = ("method", *map(str, _LATER))
RATIO_COLUMNS = ("over HyperLISTA's", *RATIOS.values())
TIME_COLUMNS = ("method", "chosen", "layers", "ms for 256", "/ HyperLISTA", *_ERRORS)
SHARE_COLUMNS = (
    "method",
    "ms for 256",
    "products %",
    "threshold, momentum %",
    "selection %",
    "error norm %",
    "rest %",
)
WEIGHT_COLUMNS = (
    "matrix", "diagonal error", "others / bound", "largest", "symmetric: others / bound", "largest ", "AᵀA / bound",
    "largest  ",
)  # fmt: skip
LASSO_COLUMNS = ("λ / largest", "FISTA", "celer", "skglm", "scikit-learn")
SHIFT_COLUMNS = ("codes", *_ERRORS, "FISTA-16: λ", *(f"{name} " for name in _ERRORS), "")
MATRIX_COLUMNS = ("matrix", *_ERRORS, "FISTA-16: λ", *(f"{name} " for name in _ERRORS))
TAIL_COLUMNS = (
    "codes", "certified by support", "by the lasso", "not certified", "fell back", "false accepts", *_ERRORS,
    "steps of conjugate gradients: mean", "most",
)  # fmt: skip
EVENT_COLUMNS = (
    "atoms x measured, batch",
    "not zero %",
    "event ms",
    "dense ms",
    "event / dense",
    "chosen / dense",
)


def _mean(values: list[float], digits: int = 1) -> str:
    return f"{statistics.fmean(values):.{digits}f}" if values else ""


def figure_body(found: Found) -> list[list[str]]:
    """All figures, under FIGURE_COLUMNS."""
    body = []
    for name, value in figures(found).items():
        if value is not None:
            sign, gate, goal = GATES.get(name, ("", None, None))
            limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (gate, goal)]
            body.append([name, f"{value:.4g}", *limits, verdict(name, value)])
    return body


def methods(found: Found) -> list[str]:
    """Methods of the curves, in the order in which they were made."""
    return list(dict.fromkeys(row["method"] for row in found.get("curves", [])))


def curve_body(found: Found) -> list[list[str]]:
    """Errors after 16 layers, or after the last if those are fewer; means over seeds; under CURVE_COLUMNS."""
    body = []
    for method in methods(found):
        rows = solve_figures.curves(found, method)
        places = [row["layers"].index(min(LAYERS, row["layers"][-1])) for row in rows]
        errors = {
            key: [row[key][place] for row, place in zip(rows, places, strict=True)]
            for key in ("ratio_db", "mean_db", "median_db", "lost")
        }
        reached = [_layers_to(row) for row in rows]
        body.append([
            method,
            "; ".join(dict.fromkeys(row["setting"] for row in rows)),
            f"{rows[0]['numbers']:,}" if rows[0]["numbers"] else "",
            f"{statistics.fmean(row['made_seconds'] for row in rows):.0f}" if rows[0]["made_seconds"] else "",
            *(_mean(errors[key]) for key in ("ratio_db", "mean_db", "median_db")),
            f"{sum(errors['lost']):,} of {sum(row['samples'] for row in rows):,}",
            ", ".join(str(layers) if layers else "-" for layers in dict.fromkeys(reached)),
        ])  # fmt: skip
    return body


def _layers_to(row: Row) -> int | None:
    place = first_below(row["ratio_db"])
    return None if place is None else int(row["layers"][place - 1])


def layer_body(found: Found, shown: tuple[int, ...] = _SHOWN) -> list[list[str]]:
    """Errors of the summed squares in dB by layer, means over seeds, under LAYER_COLUMNS or LATER_COLUMNS."""
    body = []
    for method in methods(found):
        rows = solve_figures.curves(found, method)
        cells = [_mean([value for row in rows if (value := _at(row, layer)) is not None]) for layer in shown]
        if any(cells):
            body.append([method, *cells])
    return body


def later_body(found: Found) -> list[list[str]]:
    """The same beyond layer 16, of methods that go on."""
    return layer_body(found, _LATER)


def _at(row: Row, layer: int) -> float | None:
    """The error after the last layer kept that is not beyond, if the method goes so far."""
    if layer > row["layers"][-1]:
        return None
    return float(row["ratio_db"][sum(kept <= layer for kept in row["layers"]) - 1])


def ratio_body(found: Found) -> list[list[str]]:
    """Iterations and seconds to -40 dB over HyperLISTA's, one row each, under RATIO_COLUMNS."""
    known = figures(found)
    layers = [row["layers"] for row in found.get("times", []) if row["method"] == OURS]
    if not layers:
        return []
    iterations = [known[f"{key}_iterations_to_40db"] if key in ITERATIONS else None for key in RATIOS]
    times = [known[f"{key}_time_vs_hyperlista"] for key in RATIOS]
    own = statistics.median(layers)
    return [
        [
            f"layers to -40 dB ({own:g})",
            *("" if value is None else f"{value / own:.1f}" for value in iterations),
        ],
        ["seconds to -40 dB", *("not measured" if value is None else f"{value:.1f}" for value in times)],
    ]


def time_body(found: Found) -> list[list[str]]:
    """Times to -40 dB by method, means over seeds, under TIME_COLUMNS."""
    body = []
    rows = found.get("times", [])
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        body.append([
            method,
            "; ".join(dict.fromkeys(row["setting"] for row in mine)),
            ", ".join(dict.fromkeys(str(row["layers"]) for row in mine if row["layers"])),
            f"{1000 * statistics.fmean(row['seconds'] for row in mine):.1f}",
            f"{statistics.median(row['over_ours'] for row in mine):.1f}",
            *(_mean([row[key] for row in mine]) for key in ("ratio_db", "mean_db", "median_db")),
            _lost(mine),
        ])  # fmt: skip
    return body


def _lost(judged: list[Row]) -> str:
    return f"{sum(row['lost'] for row in judged):,} of {sum(row['samples'] for row in judged):,}"


def share_body(found: Found) -> list[list[str]]:
    """Shares of time of 16 layers, under SHARE_COLUMNS."""
    return [
        [
            row["method"],
            f"{1000 * row['seconds']:.1f}",
            *(f"{100 * share:.0f}" for share in row["shares"].values()),
        ]
        for row in found.get("shares", [])
    ]


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
        cells = [[row["above"][name] for row in mine if name in row["above"]] for name in LASSO_COLUMNS[2:]]
        body.append([
            f"{share:g}", f"{max(row['gap'] for row in mine):.1e}",
            *(f"{max(values):.1e}" if values else "" for values in cells),
        ])  # fmt: skip
    return body


def _errors(rows: list[Row], solver: str) -> list[str]:
    judged = [row[solver] for row in rows]
    return [
        *(_mean([row[key] for row in judged]) for key in ("ratio_db", "mean_db", "median_db")),
        _lost(judged),
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
            *(_mean([row[key] for row in mine]) for key in ("ratio_db", "mean_db", "median_db")), _lost(mine),
            _mean(means, 2), str(max(most)) if most else "",
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
