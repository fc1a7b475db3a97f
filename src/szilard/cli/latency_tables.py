"""Tables of measured times: of one inference, and of each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from szilard.cli import output
from szilard.cli.figures import LETTERS
from szilard.cli.table import Column, Table
from szilard.cli.table import show as show_table
from szilard.errors import printable
from szilard.report.figure_names import seconds, signed

_MOST_LAYERS = 50


def show(rows: Sequence[Mapping[str, Any]], *, wide: bool = False) -> None:
    """Print a table with the latency of every row that has one, and a table of the layers of each.

    Args:
        rows: with ``latency``, as :func:`szilard.cli.latency_runs.measured` gives it.
    """
    for table in tables([row for row in rows if "latency" in row]):
        output.say("")
        show_table(table, wide=wide)


def tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The tables that :func:`show` prints."""
    if not rows:
        return []
    return [_latency(rows), *(_layers(row) for row in rows if "layers" in row["latency"])]


def _latency(rows: Sequence[Mapping[str, Any]]) -> Table:
    times = [row["latency"] for row in rows]
    columns = [Column(["method"], [_name(row) for row in rows], right=False)]
    for key in ("median", "p10", "p90"):
        columns.append(Column([key], [seconds(time[key]) for time in times]))
    columns.append(
        Column(["calls"], [f"{time['readings'] * time['calls_per_reading']:,}" for time in times], worth=10)
    )
    first = times[0]
    threads = f"{first['threads']} thread{'' if first['threads'] == 1 else 's'}"
    runtimes = ", ".join(dict.fromkeys(printable(time["runtime"], LETTERS) for time in times))
    notes = _noisy(first["noise"])
    longest = max(time["calls_per_reading"] for time in times)
    if longest > 1:
        notes.append(
            f"Percentiles are of means of up to {longest} consecutive calls, which are too short to time one by one."
        )
    what = f"Time per inference{_label(first['noise'])}, batch {first['batch']}, {runtimes}, {threads}"
    return Table(columns, title=what, transposes=True, elsewhere="--json shows them", notes=notes)


def _layers(row: Mapping[str, Any]) -> Table:
    found = row["latency"]["layers"]
    layers, whole = found["rows"], found["network"]
    least = sorted((layer["seconds"] for layer in layers), reverse=True)[:_MOST_LAYERS][-1]
    shown = [layer for layer in layers if layer["seconds"] >= least][:_MOST_LAYERS]
    columns = [
        Column(
            ["layer"], [printable(layer["name"] or "(the network)", LETTERS) for layer in shown], right=False
        ),
        Column(["kind"], [printable(layer["kind"], LETTERS) for layer in shown], right=False, worth=20),
        Column(["calls"], [str(layer["calls"]) for layer in shown], worth=10),
        Column(["time"], [seconds(layer["seconds"]) for layer in shown]),
        Column(["of the", "network"], [_share(layer["seconds"], whole) for layer in shown], worth=30),
    ]
    notes = []
    if len(layers) > len(shown):
        rest = found["total"] - sum(layer["seconds"] for layer in shown)
        notes.append(f"{len(layers) - len(shown)} faster layers, {seconds(rest)} together, are in --json.")
    error = signed(100 * found["error"] / whole, 1, "%")
    notes.append(
        f"Sum of the layers: {seconds(found['total'])}; whole network: {seconds(whole)}; error of this table: {error}."
    )
    return Table(
        columns,
        title=f"Time of each layer, run alone{_label(found['noise'])}, {_name(row)}",
        elsewhere="--wide or --json shows them",
        notes=notes + _noisy(found["noise"]),
    )


def _name(row: Mapping[str, Any]) -> str:
    return printable(str(row["name"]), LETTERS)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %"


def _label(noise: Mapping[str, Any]) -> str:
    return " (noisy machine)" if noise["reasons"] else ""


def _noisy(noise: Mapping[str, Any]) -> list[str]:
    if not noise["reasons"]:
        return []
    return [f"The machine was too noisy for these figures: {' and '.join(noise['reasons'])}."]
