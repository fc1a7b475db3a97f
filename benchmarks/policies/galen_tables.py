"""Tables of galen.py, from its results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from common.harness import spread
from policies import ranking
from policies.galen_figures import GATES, figures, networks, verdict
from policies.plan import DEFAULT, INT8, LABELS, LEVELS, MATCHED, PRUNED, PRUNED_INT8, SEARCHERS, SHORT
from policies.policy_tables import LAYER_COLUMNS, POLICY_COLUMNS, layer_body, policy_body

Row = dict[str, Any]
Found = dict[str, Any]
FIGURE_COLUMNS = ("figure", "value", "gate", "goal", "")
SEARCH_COLUMNS = (
    "policy",
    "target",
    "minutes of search",
    "KL before training",
    "KL",
    "latency",
    "test accuracy %",
    "by seed",
)
LEVEL_COLUMNS = (
    "fine-tuning",
    "target",
    "seed",
    "latency",
    "ms",
    "10 % - 90 %",
    "kB",
    "KL before",
    "KL",
    "accuracy %",
    "drop",
)
TOY_COLUMNS = ("searcher", "optimum of the toy found")
EMPTY_COLUMNS = ("network", "ms", "of the original")
UNIFORM_COLUMNS = ("channels kept", "float32", "int8")
RANKING_COLUMNS = (
    "policy",
    "target",
    "test accuracy %",
    *("KL without training" if not steps else f"KL, {steps} steps" for steps in ranking.STEPS),
)
ROWS = (
    *((name, "0.4") for name in SEARCHERS), (PRUNED, "0.4"), (PRUNED_INT8, "0.4"), (INT8, ""), (DEFAULT, MATCHED),
)  # fmt: skip


def figure_body(found: Found) -> list[list[str]]:
    """All figures, under FIGURE_COLUMNS."""
    body = []
    for name, value in figures(found).items():
        if value is not None:
            sign, gate, goal = GATES.get(name, ("", None, None))
            shown = ("yes" if value else "no") if isinstance(value, bool) else f"{value:.4g}"
            limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (gate, goal)]
            if isinstance(value, bool):
                limits = ["yes", ""]
            body.append([name, shown, *limits, verdict(name, value, bool(found.get("quick")))])
    return body


def search_body(found: Found) -> list[list[str]]:
    """Searchers and uniform policies after the same short fine-tuning, under SEARCH_COLUMNS."""
    body = []
    for searcher, target in ROWS:
        rows = networks(found, searcher, target, SHORT)
        if not rows:
            continue
        searched = [
            row for row in found["searches"] if (row["searcher"], row["target"]) == (searcher, target)
        ]
        seconds = [row["seconds"]["search"] for row in searched if "search" in row["seconds"]]
        judged = [row["accuracy"] for row in rows if "accuracy" in row]
        lowered = sum(_lowered(row, found) for row in searched)
        again = f" (lowered for {lowered} of {len(rows)})" if lowered else ""
        body.append([
            LABELS.get(searcher, searcher),
            ("that of uniform int8" if target == MATCHED else target or "none") + again,
            f"{statistics.fmean(seconds) / 60:.1f}" if seconds else "",
            spread([row["kl_before"] for row in rows]),
            spread([row["kl"] for row in rows]),
            _ratios(rows),
            spread(judged, 2, 100) if judged else "",
            ", ".join(f"{100 * value:.2f}" for value in judged),
        ])  # fmt: skip
    return body


def level_body(found: Found) -> list[list[str]]:
    """The default searcher's networks, one a row, under LEVEL_COLUMNS."""
    whole = found.get("original", {}).get("accuracy")
    body = []
    for level in LEVELS:
        for target in ("0.4", "0.6"):
            for row in networks(found, DEFAULT, target, level):
                judged = row.get("accuracy")
                body.append([
                    level, target, str(row["seed"]),
                    *((f"{row['ratio']:.3f}", f"{row['ms']:.3f}", f"{row['p10']:.3f} - {row['p90']:.3f}")
                      if "ratio" in row else ("", "", "")),
                    f"{row['bytes'] / 1000:.0f}", f"{row['kl_before']:.3f}", f"{row['kl']:.3f}",
                    "" if judged is None else f"{100 * judged:.2f}",
                    "" if judged is None or whole is None else f"{100 * (whole - judged):.2f}",
                ])  # fmt: skip
    return body


def toy_body(found: Found) -> list[list[str]]:
    """Seeds that found the optimum of the toy, under TOY_COLUMNS."""
    body = []
    for name in SEARCHERS:
        rows = [row for row in found.get("toy", []) if (row["space"], row["searcher"]) == ("toy", name)]
        if rows:
            hit = sum(row["kl"] <= row["optimum"] + 1e-12 for row in rows)
            body.append([LABELS[name], f"{hit} of {len(rows)} seeds, {rows[0]['evaluations']} policies"])
    return body


def chain_columns(found: Found) -> list[str]:
    """Of the table of the long chain."""
    return ["searcher", *(f"KL, {count} policies" for count in _chain_counts(found))]


def chain_body(found: Found) -> list[list[str]]:
    """KL of the best policy of the long chain by policies tried, under :func:`chain_columns`."""
    rows = [row for row in found.get("toy", []) if row["space"] == "chain"]
    body = []
    for name in SEARCHERS:
        cells = [
            spread([row["kl"] for row in rows if (row["searcher"], row["evaluations"]) == (name, count)])
            for count in _chain_counts(found)
            if any((row["searcher"], row["evaluations"]) == (name, count) for row in rows)
        ]
        if cells:
            body.append([LABELS[name], *cells])
    return body


def ranking_body(found: Found) -> list[list[str]]:
    """Policies by their accuracy after the short fine-tuning, under RANKING_COLUMNS, and what each KL says of it."""
    rows = found.get("ranking", [])
    if not rows:
        return []
    body = [
        [
            LABELS.get(searcher, searcher),
            "that of uniform int8" if target == MATCHED else target or "none",
            f"{100 * accuracy:.2f}",
            *(f"{kl:.3f}" for kl in kls),
        ]
        for searcher, target, accuracy, kls in ranking.by_policy(rows)
    ]
    correlated = [spread(each, 2) if each else "" for each in ranking.correlations(rows)]
    return [*body, ["rank correlation", "", "", *correlated]]


def empty_body(found: Found) -> list[list[str]]:
    """Networks with nearly no channels, under EMPTY_COLUMNS."""
    bounds = found.get("bounds", {})
    if not bounds:
        return []
    rows = [{"network": "original", "ms": bounds["original_ms"], "ratio": 1.0}, *bounds["empty"]]
    return [[row["network"], f"{row['ms']:.3f}", f"{row['ratio']:.3f}"] for row in rows]


def uniform_body(found: Found) -> list[list[str]]:
    """Latency of uniform policies, under UNIFORM_COLUMNS."""
    bounds = found.get("bounds", {})
    rows = [{"share": 1.0, "float32": 1.0, "int8": bounds["int8"]}, *bounds["uniform"]] if bounds else []
    return [
        [
            f"{row['share']:.4g}",
            f"{row['float32']:.3f}",
            "" if row["int8"] is None else f"{row['int8']:.3f}",
        ]
        for row in rows
    ]


def _chain_counts(found: Found) -> list[int]:
    return sorted({row["evaluations"] for row in found.get("toy", []) if row["space"] == "chain"})


def _lowered(row: Row, found: Found) -> bool:
    """Whether a search was made again with a lower target, because no policy met the first one as measured."""
    wanted = found["bounds"]["int8"] if row["target"] == MATCHED else row["target"]
    return bool(row["trials"]) and float(row["share"]) < float(wanted) - 1e-9


def _ratios(rows: Sequence[Row]) -> str:
    measured = [row["ratio"] for row in rows if "ratio" in row]
    return spread(measured) if measured else ""


#: Title, columns and rows of all tables.
ALL: tuple[tuple[str, Sequence[str], Callable[[Found], list[list[str]]]], ...] = (
    ("searchers on formulas", TOY_COLUMNS, toy_body),
    ("milliseconds of layers", LAYER_COLUMNS, layer_body),
    ("nearly empty networks", EMPTY_COLUMNS, empty_body),
    ("latency of uniform policies, of the original", UNIFORM_COLUMNS, uniform_body),
    ("short fine-tuning", SEARCH_COLUMNS, search_body),
    ("the default searcher", LEVEL_COLUMNS, level_body),
    ("its policies at 0.4", POLICY_COLUMNS, policy_body),
    ("KL and accuracy of policies", RANKING_COLUMNS, ranking_body),
    ("figures", FIGURE_COLUMNS, figure_body),
)
