"""Output of the benchmarks: tables, one line of JSON at the end, and progress on standard error."""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    Console(width=200).print(table)


def spread(values: Sequence[float], digits: int = 3, factor: float = 1.0) -> str:
    """Mean ± standard error over seeds."""
    mean = factor * statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ±{factor * statistics.stdev(values) / math.sqrt(len(values)):.{digits}f}"


def progress(text: str) -> None:
    """A line with the time of day, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def finish(benchmark: str, figures: dict[str, Any]) -> None:
    """Print the figures as JSON, the last line of a benchmark's output."""
    print(json.dumps({"benchmark": benchmark, "figures": figures}), flush=True)
