"""Figures of galen.py and their gates, from its results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from policies.plan import DEFAULT, INT8, LONG, MATCHED, SEARCHERS, SHORT, UNLABELLED

Row = dict[str, Any]
Found = dict[str, Any]
#: Sign, gate and goal of each figure; None: there is none.
GATES: dict[str, tuple[str, float | None, float | None]] = {
    "latency_ratio_04": ("≤", 0.42, None),
    "drop_pt_04": ("≤", 2.5, 1.0),
    "drop_pt_06": ("≤", 0.8, None),
    "drop_pt_06_unlabelled": ("≤", None, 1.5),
    "best_minus_random_pt": ("≥", 0.0, None),
    "best_minus_uniform_int8_pt": ("≥", 0.0, None),
    "toy_optimum_found": ("=", 1.0, None),
}
TRAINED = (
    "drop_pt_04", "drop_pt_06", "drop_pt_06_unlabelled", "best_minus_random_pt", "best_minus_uniform_int8_pt",
)  # fmt: skip


def figures(found: Found) -> dict[str, float | bool | None]:
    """The keys of the last line; None for what was not measured."""
    at_04, at_06 = (networks(found, DEFAULT, target, LONG) for target in ("0.4", "0.6"))
    short = {name: mean(accuracies(found, name, "0.4", SHORT)) for name in SEARCHERS}
    best = max(
        (value for name, value in short.items() if value is not None and name != "random"), default=None
    )
    errors = [row["table_error"] for row in found.get("searches", []) if row.get("table_error") is not None]
    return {
        "latency_ratio_04": mean(ratios(at_04)),
        "latency_ratio_04_worst": max(ratios(at_04), default=None),
        "drop_pt_04": drop(found, at_04),
        "latency_ratio_06": mean(ratios(at_06)),
        "drop_pt_06": drop(found, at_06),
        "drop_pt_06_unlabelled": drop(found, networks(found, DEFAULT, "0.6", UNLABELLED)),
        "best_minus_random_pt": _points(best, short["random"]),
        "best_minus_uniform_int8_pt": _points(
            mean(accuracies(found, DEFAULT, MATCHED, SHORT)), mean(accuracies(found, INT8, "", SHORT))
        ),
        "uniform_int8_ratio": mean(ratios(networks(found, INT8, "", SHORT))),
        "matched_ratio": mean(ratios(networks(found, DEFAULT, MATCHED, SHORT))),
        "agent_minus_evolution_pt": _points(short["agent"], short["evolution"]),
        "table_error_percent": mean(errors),
        "toy_optimum_found": toy_found(found),
    }


def networks(found: Found, searcher: str, target: str, level: str) -> list[Row]:
    """Finished networks of a searcher, one for each seed."""
    return [
        row
        for row in found.get("networks", [])
        if (row["searcher"], row["target"], row["level"]) == (searcher, target, level)
    ]


def ratios(rows: Iterable[Row]) -> list[float]:
    """Measured latencies as shares of the original's."""
    return [row["ratio"] for row in rows if "ratio" in row]


def accuracies(found: Found, searcher: str, target: str, level: str) -> list[float]:
    """On the test set, by seed."""
    return [row["accuracy"] for row in networks(found, searcher, target, level) if "accuracy" in row]


def drop(found: Found, rows: Sequence[Row]) -> float | None:
    """Percentage points that networks lose against the original, the mean over seeds."""
    return _points(
        found.get("original", {}).get("accuracy"),
        mean([row["accuracy"] for row in rows if "accuracy" in row]),
    )


def toy_found(found: Found, searcher: str = DEFAULT) -> bool | None:
    """Whether a searcher found the optimum of the toy with every seed."""
    rows = [row for row in found.get("toy", []) if (row["space"], row["searcher"]) == ("toy", searcher)]
    return all(row["kl"] <= row["optimum"] + 1e-12 for row in rows) if rows else None


def mean(values: Sequence[float]) -> float | None:
    """None of nothing."""
    return statistics.fmean(values) if values else None


def verdict(name: str, value: float | None, quick: bool) -> str:
    """Whether a figure reaches its gate and its goal."""
    if name not in GATES or value is None:
        return ""
    sign, gate, goal = GATES[name]
    marked = " (quick)" if quick and name in TRAINED else ""
    if gate is not None and _short_of(sign, value, gate):
        return f"MISSED by {abs(value - gate):.3g}{marked}"
    if goal is not None:
        return ("goal not reached" if _short_of(sign, value, goal) else "goal reached") + marked
    return f"reached{marked}"


def missed(found: Found) -> list[str]:
    """A sentence for each figure that misses its gate, and what bounds it; not for those of ``--quick`` training."""
    quick = bool(found.get("quick"))
    lines = [
        f"{name} is {value:.4g}, and the gate is {GATES[name][0]} {GATES[name][1]:g}: {text}"
        for name, value in figures(found).items()
        if value is not None
        and (text := verdict(name, value, quick)).startswith("MISSED")
        and not (quick and name in TRAINED)
    ]
    return [*lines, *bounded(found)] if lines else []


def bounded(found: Found) -> list[str]:
    """What latency cannot fall below, and layers whose time hardly falls with their channels."""
    bounds = found.get("bounds", {})
    lines = [
        f"{row['network']}: {row['ms']:.3f} ms, {row['ratio']:.3f} of the original"
        for row in bounds.get("empty", [])
    ]
    for row in bounds.get("layers", []):
        if row["quarter"] > 0.5 * row["all"]:
            part = row["quarter"] / row["all"]
            lines.append(
                f"{row['layers'][0]} ({len(row['layers'])} of its shape) takes {part:.2f} of its time with a quarter "
                "of its channels"
            )
    return lines


def notes(found: Found) -> list[str]:
    """What a reader of the latencies has to know."""
    places = {"finished networks": found.get("original", {}), "uniform policies": found.get("bounds", {})}
    return [
        f"latencies of {what} are of a noisy machine: {part['noise']}"
        for what, part in places.items()
        if part.get("noise")
    ]


def _points(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else 100 * (first - second)


def _short_of(sign: str, value: float, limit: float) -> bool:
    return value > limit if sign == "≤" else value < limit if sign == "≥" else value != limit
