"""What stands below a table of figures: 95 % intervals where examples are few, and how each class fares."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from szilard._cli import by_target, target
from szilard.errors import printable
from szilard.training.folder import RunFolder

_SHOWN = {
    "accuracy": "accuracy", "accuracy_by_label": "accuracy by label", "r2": "R²",
    "rmse": "RMSE", "nll": "NLL", "brier": "Brier", "ece": "ECE",
    "coverage95": "coverage of 95 %", "auroc_best": "OOD AUROC",
}  # fmt: skip
_WIDTH = 76
_MOST_CLASSES = 20
_UNEQUAL = 3  # times as large as the smallest class, the largest one, from where classes are shown


def of_run(run: Path) -> list[str]:
    """Lines for the finished methods of a run."""
    folder = RunFolder(run)
    results = [
        folder.method(name).read_result() for name in target.order(folder) if folder.method(name).finished
    ]
    return lines(results)


def lines(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of at most 76 columns: intervals of every method, and classes of the first where they are unequal.

    Args:
        results: with "name" and what :func:`szilard.training.details.of` gives.
    """
    found: list[str] = []
    for result in results:
        ends = result.get("intervals") or {}
        shown = [
            f"{words} {_span(*ends[key])}"
            for key, words in _SHOWN.items()
            if isinstance(ends.get(key), list | tuple)
        ]
        if shown:
            start = f"{printable(str(result.get('name', '')), 40)}, 95 % intervals of {result.get('n_test')} examples: "
            found += _wrapped(start, shown)
    if results and results[0].get("by_target"):
        found += by_target.lines(results[0]["by_target"], str(results[0].get("name", "")))
    rows = results[0].get("by_class") if results else None
    if rows and 1 < len(rows) <= _MOST_CLASSES and _unequal(rows):
        found.append("")
        what = "Labels" if "accuracy_all" in _quality(results[0]) else "Classes"
        found.append(f"{what}, {printable(str(results[0].get('name', '')), 50)}:")
        found += _classes(rows)
    return found


def _quality(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return result.get("quality") or result.get("test") or {}


def _span(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}" if max(abs(low), abs(high)) < 100 else f"{low:.4g} to {high:.4g}"


def _wrapped(start: str, parts: Sequence[str]) -> list[str]:
    text = start + ", ".join(part.replace(" ", "\u00a0") for part in parts)
    wrapped = textwrap.wrap(
        text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\u00a0", " ") for line in wrapped]


def _unequal(rows: Sequence[Mapping[str, Any]]) -> bool:
    sizes = [row["examples"] for row in rows]
    return max(sizes) >= _UNEQUAL * max(1, min(sizes))


def _classes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    width = max(5, *(len(printable(str(row["class"]), 28)) for row in rows))
    found = [f"  {'class':{width}}  examples  precision (95 %)        recall (95 %)"]
    for row in rows:
        cells = [_share(row[key], row[f"{key}_interval"]) for key in ("precision", "recall")]
        name = printable(str(row["class"]), 28)
        found.append(f"  {name:{width}}  {row['examples']:8d}  {cells[0]:22}  {cells[1]}".rstrip())
    return found


def _share(value: float | None, interval: Sequence[float]) -> str:
    return "-" if value is None else f"{value:.3f} ({interval[0]:.3f}-{interval[1]:.3f})"
