"""Tables and figures of the training-step benchmark, from its measured cells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from training import memory
from training.contestants import DETERMINISTIC, MEAN_FIELD, ssvi_name

DENSITIES = (1.0, 0.10, 0.05, 0.02, 0.01)
CLAIM = 0.05  # density of the reported figures

Cell = dict[str, Any]


def ratio(cell: Cell, row: str, to: str = DETERMINISTIC, kind: str = "steps") -> float | None:
    """Median of a row divided by the median of another; None if one of them was not run."""
    found = cell[kind]
    return found[row]["median"] / found[to]["median"] if row in found and to in found else None


def strongest(cell: Cell) -> str:
    """The fastest deterministic row."""
    rows = [name for name in cell["steps"] if name.startswith(DETERMINISTIC)]
    return min(rows, key=lambda name: cell["steps"][name]["median"])


COLUMNS = [
    "",
    "ms / step",
    "quartiles",
    "/ deterministic",
    "/ fastest deterministic",
    "amortised ms",
    "amortised /",
]


def body(cell: Cell) -> list[list[str]]:
    """Rows of a cell's table, under COLUMNS."""
    best = strongest(cell)
    table = []
    for name, s in cell["steps"].items():
        over = cell["intervals"].get(name) if name != DETERMINISTIC else None
        amortised = ratio(cell, name, kind="intervals")
        table.append(
            [
                name,
                f"{1e3 * s['median']:.2f}",
                f"{1e3 * s['low']:.2f}–{1e3 * s['high']:.2f}",
                f"{ratio(cell, name):.3f}",
                f"{ratio(cell, name, best):.3f}",
                f"{1e3 * over['median']:.2f}" if over else "",
                f"{amortised:.3f}" if over and amortised else "",
            ]
        )
    return table


MEMORY_COLUMNS = ["", *memory.PARTS, "all, MiB", "/ dense mean-field", "growth batches", "peak"]


def memory_body(cell: Cell) -> list[list[str]]:
    """Memory between two steps, MiB, under MEMORY_COLUMNS."""
    reference = memory.total(cell["memory"][MEAN_FIELD])
    table = []
    for name, parts in cell["memory"].items():
        whole = memory.total(parts)
        peak = cell.get("peak", {}).get(name)
        table.append(
            [
                name,
                *(f"{parts[part] / memory.MIB:.2f}" for part in memory.PARTS),
                f"{whole / memory.MIB:.2f}",
                f"{whole / reference:.3f}",
                f"{parts['growth'] / memory.MIB:.2f}" if parts.get("growth") else "",
                f"{peak / memory.MIB:.0f}" if peak else "",
            ]
        )
    return table


LOSS_COLUMNS = ["network", "batch", "threads", "density %", "/ deterministic", "/ fastest deterministic"]


def losses(cells: Iterable[Cell], densities: Iterable[float] = DENSITIES) -> list[list[str]]:
    """Cells in which a sparse Bayesian step is slower than the fastest deterministic one, under LOSS_COLUMNS."""
    lost = []
    for cell in cells:
        for density in densities:
            name = ssvi_name(density)
            plain, best = ratio(cell, name), ratio(cell, name, strongest(cell))
            if plain is not None and best is not None and best > 1:
                where = [cell["network"], str(cell["batch"]), str(cell["threads"]), f"{100 * density:g}"]
                lost.append([*where, f"{plain:.3f}", f"{best:.3f}"])
    return lost


OVERVIEW_COLUMNS = [
    "network",
    "threads",
    "batch",
    "deterministic, ms",
    MEAN_FIELD,
    "bayesian-torch",
    "torchbnn",
]


def overview(cells: Iterable[Cell]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of all cells: the deterministic step in ms, the other steps as multiples of it."""
    cells = list(cells)
    sparse = [n for n in map(ssvi_name, DENSITIES) if any(n in cell["steps"] for cell in cells)]
    rows = []
    for cell in cells:
        plain = 1e3 * cell["steps"][DETERMINISTIC]["median"]
        others = [ratio(cell, name) for name in (*OVERVIEW_COLUMNS[4:], *sparse)]
        rows.append(
            [cell["network"], str(cell["threads"]), str(cell["batch"]), f"{plain:.2f}"]
            + ["" if value is None else f"{value:.2f}" for value in others]
        )
    return [*OVERVIEW_COLUMNS, *sparse], rows


def figures(cells: Iterable[Cell]) -> dict[str, float | None]:
    """The JSON keys. Keys without a suffix are for batch 128 and one thread; null: the peer or cell was not run."""
    cells = list(cells)
    found: dict[str, float | None] = {
        "mlp_ssvi95_vs_deterministic": None,
        "mlp_ssvi95_vs_bayesian_torch": None,
        "resnet20_ssvi95_vs_deterministic": None,
        "mlp_ssvi95_memory_vs_mean_field": None,
    }
    for cell in cells:
        network, name = cell["network"], ssvi_name(CLAIM)
        standard = (cell["batch"], cell["threads"]) == (128, 1)
        suffix = "" if standard else f"_b{cell['batch']}_t{cell['threads']}"
        found[f"{network}_ssvi95_vs_deterministic{suffix}"] = ratio(cell, name)
        if (amortised := ratio(cell, name, kind="intervals")) is not None:
            found[f"{network}_ssvi95_amortised_vs_deterministic{suffix}"] = amortised
        if not standard:
            continue
        found[f"{network}_ssvi95_vs_fastest_deterministic"] = ratio(cell, name, strongest(cell))
        found[f"{network}_ssvi95_vs_mean_field"] = ratio(cell, name, MEAN_FIELD)
        found[f"{network}_ssvi95_vs_masked_dense"] = ratio(cell, name, f"masked-dense {name}")
        found[f"{network}_ssvi95_vs_bayesian_torch"] = ratio(cell, name, "bayesian-torch")
        found[f"{network}_ssvi95_vs_torchbnn"] = ratio(cell, name, "torchbnn")
        for density in (0.10, 0.02, 0.01):
            if (other := ratio(cell, ssvi_name(density))) is not None:
                found[f"{network}_ssvi{100 - 100 * density:.0f}_vs_deterministic"] = other
        if name in cell["memory"]:
            ours, theirs = memory.total(cell["memory"][name]), memory.total(cell["memory"][MEAN_FIELD])
            found[f"{network}_ssvi95_memory_vs_mean_field"] = ours / theirs
            if growth := cell["memory"][name].get("growth"):
                found[f"{network}_ssvi95_memory_with_growth_batches_vs_mean_field"] = (ours + growth) / theirs
    return {key: None if value is None else round(value, 4) for key, value in found.items()}


def title(cell: Cell) -> str:
    threads = f"{cell['threads']} thread{'s' if cell['threads'] > 1 else ''}"
    return f"{cell['network']}, batch {cell['batch']}, {threads}; {rounds(cell)} rounds"


def rounds(cell: Cell) -> int:
    return min(summary["rounds"] for summary in cell["steps"].values())
