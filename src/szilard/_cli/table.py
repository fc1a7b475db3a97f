"""Quality x cost, as a table for people."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from szilard._cli import target
from szilard.errors import printable
from szilard.training.folder import RunFolder

_LETTERS = 200  # of a name
_WIDTH = 132  # where nobody's terminal says how wide it is

Row = dict[str, Any]  # "name", "quality" (metric -> value), "cost" (field -> {"value", "source"})


def _plain(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def si(value: float) -> str:
    """Three digits and an SI prefix: 669706 is 670k, 1.2e-7 is 120n."""
    if not value:
        return "0"
    exponent = min(5, max(-5, math.floor(math.log10(abs(value)) / 3 + 1e-9)))
    number = f"{value / 1000.0**exponent:.3g}"
    return f"{number}{['f', 'p', 'n', 'µ', 'm', '', 'k', 'M', 'G', 'T', 'P'][exponent + 5]}"


QUALITY = {
    "accuracy": "accuracy",
    "miou": "mIoU",
    "rmse": "RMSE",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
    "coverage95": "coverage\nof 95 %",
    "auroc_best": "OOD\nAUROC",
}
COST: dict[str, tuple[str, Callable[[float], str]]] = {
    "nonzeros": ("non-\nzeros", si),
    "bits": ("bytes", lambda bits: si(bits / 8)),
    "macs": ("MACs", si),
    "train_flops": ("training\nFLOPs", si),
    "joules_inference": ("joules an\ninference", si),
    "seconds": ("seconds", lambda seconds: f"{seconds:.1f}"),
}


def show(runs: Sequence[Path]) -> None:
    """Print a row for every finished method of some runs."""
    rows = []
    title = ""
    for run in runs:
        folder = RunFolder(run)
        for name in target.order(folder):
            if not folder.method(name).finished:
                continue
            result = folder.method(name).read_result()
            prefix = f"{run.name}: " if len(runs) > 1 else ""
            row = {"name": prefix + (result.get("name") or name)}
            rows.append(row | {"quality": result["test"], "cost": result.get("cost", {})})
            title = f"{result.get('data', 'unknown data')}, test set" + (
                f"; OOD: {result['ood']}" if result.get("ood") else ""
            )
    print_rows(rows, title if len(runs) == 1 else "test sets")


def print_rows(rows: Sequence[Row], title: str) -> None:
    """Print the columns that at least one row fills; costs carry their label in the heading."""
    # Text, never a string: Rich would obey what stands in square brackets.
    table = Table(title=_text(title), title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    quality = [key for key in QUALITY if any(row["quality"].get(key) is not None for row in rows)]
    costs = [key for key in COST if any(_value(row, key) is not None for row in rows)]
    for key in quality:
        table.add_column(QUALITY[key], justify="right")
    for key in costs:
        source = next(row["cost"][key]["source"] for row in rows if _value(row, key) is not None)
        heading = Text.assemble(COST[key][0], "\n", (printable(source, _LETTERS), "dim"))
        table.add_column(heading, justify="right", vertical="bottom")
    for row in rows:
        cells = [
            _plain(row["quality"][key]) if row["quality"].get(key) is not None else "-" for key in quality
        ]
        values = [_value(row, key) for key in costs]
        cells += [
            "-" if value is None else COST[key][1](value) for key, value in zip(costs, values, strict=True)
        ]
        table.add_row(_text(row["name"]), *cells)
    console = Console()
    Console(width=console.width if console.is_terminal else _WIDTH).print(table)


def _text(name: str) -> Text:
    return Text(printable(name, _LETTERS))


def _value(row: Row, key: str) -> float | None:
    return row["cost"].get(key, {}).get("value")
