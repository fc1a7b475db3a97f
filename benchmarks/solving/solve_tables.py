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
ERRORS = ("dB of the sums", "mean dB", "median dB", "not recovered")
FIGURE_COLUMNS = ("figure", "value", "gate", "goal", "")
CURVE_COLUMNS = (
    "method", "chosen", "numbers", "seconds to find them", *ERRORS, "layers to -40 dB",
)  # fmt: skip
_SHOWN = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
_LATER = (32, 64, 128, 256, 512, 1024, 2048)
GUIDE_COLUMNS = (
    "solver", "numbers", "seconds to find them", "dB after 16 layers", "layers to -40 dB", "ms for 256 to there",
)  # fmt: skip
LAYER_COLUMNS = ("method", *map(str, _SHOWN))
LATER_COLUMNS = ("method", *map(str, _LATER))
RATIO_COLUMNS = ("over HyperLISTA's", *RATIOS.values())
TIME_COLUMNS = ("method", "chosen", "layers", "ms for 256", "/ HyperLISTA", *ERRORS)
SHARE_COLUMNS = (
    "method",
    "ms for 256",
    "products %",
    "threshold, momentum %",
    "selection %",
    "error norm %",
    "rest %",
)


def mean(values: list[float], digits: int = 1) -> str:
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
        body.append([
            method,
            "; ".join(dict.fromkeys(row["setting"] for row in rows)),
            f"{rows[0]['numbers']:,}" if rows[0]["numbers"] else "",
            f"{statistics.fmean(row['made_seconds'] for row in rows):.0f}" if rows[0]["made_seconds"] else "",
            *(mean(errors[key]) for key in ("ratio_db", "mean_db", "median_db")),
            f"{sum(errors['lost']):,} of {sum(row['samples'] for row in rows):,}",
            ", ".join(dict.fromkeys(map(_reached, rows))),
        ])  # fmt: skip
    return body


def guide_body(found: Found) -> list[list[str]]:
    """Errors, layers and milliseconds of what users take, means over seeds, under GUIDE_COLUMNS."""
    body = []
    for row in curve_body(found):
        method, _, numbers, seconds, error, *_, layers = row
        if " without " in method or method == "FISTA, λ for 16":
            continue
        taken = [
            1000 * one["seconds"][place - 1]
            for one in solve_figures.curves(found, method)
            if (place := first_below(one["ratio_db"])) is not None
        ]
        body.append([method, numbers, seconds, error, layers, mean(taken)])
    return body


def _reached(row: Row) -> str:
    """The first layer at -40 dB or below; beyond 16 not all layers are kept, and it is at most what is said."""
    place = first_below(row["ratio_db"])
    if place is None:
        return "-"
    layer = row["layers"][place - 1]
    return f"{layer}" if layer <= LAYERS or layer - row["layers"][place - 2] == 1 else f"≤ {layer}"


def layer_body(found: Found, shown: tuple[int, ...] = _SHOWN) -> list[list[str]]:
    """Errors of the summed squares in dB by layer, means over seeds, under LAYER_COLUMNS or LATER_COLUMNS."""
    body = []
    for method in methods(found):
        rows = solve_figures.curves(found, method)
        cells = [mean([value for row in rows if (value := _at(row, layer)) is not None]) for layer in shown]
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
            *(mean([row[key] for row in mine]) for key in ("ratio_db", "mean_db", "median_db")),
            lost(mine),
        ])  # fmt: skip
    return body


def lost(judged: list[Row]) -> str:
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
