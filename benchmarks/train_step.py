"""What one training step costs on the clock and in memory: sparse Bayesian against dense, plain and Bayesian.

    python benchmarks/train_step.py [--quick] [--results FILE.jsonl]

Every row trains the same network on the same batch, a whole step each: zero_grad, loss with its divergence,
backward, optimiser, and what the method does after a step. One process; rows take turns, round after round
(:mod:`szilard.cost.interleave`); figures are ratios of medians. A cell is (network, batch size, threads).
*Amortised* is the mean over whole intervals between two moves of the supports, growth gradients and the move
included; ``--quick`` leaves it out where it would take too long. ``--results`` keeps every cell as one line; a cell
that is measured again replaces its line.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from common import machine
from common.harness import finish, print_table
from szilard import atomic
from szilard.cost.interleave import Timed, interleave
from training import memory
from training.contestants import (
    DETERMINISTIC,
    MEAN_FIELD,
    NETWORKS,
    Contestant,
    Problem,
    deterministic,
    field_of,
    ssvi_name,
)
from training.peers import HOW_TO_GET

BATCHES = (16, 128, 512)
THREADS = (1, 2)
DENSITIES = (1.0, 0.10, 0.05, 0.02, 0.01)
QUICK_DENSITIES = (0.10, 0.05, 0.02)
CLAIM = 0.05  # density of the figures
SECONDS = 60.0  # budget of a cell's ordinary steps; its intervals get half as much again
QUICK_SECONDS = {"mlp": 30.0, "resnet20": 60.0, "lenet5": 10.0}
INTERVAL_TURN = 0.2  # an interval's opponent steps at least so long, seconds

Cell = dict[str, Any]


def measure(
    network: str,
    batch: int,
    threads: int,
    densities: Iterable[float],
    *,
    budget: float,
    amortised: Iterable[float],
    quick: bool = False,
) -> Cell:
    """All rows of one cell: seconds per ordinary step, per step of an interval, and the bytes held."""
    least_rounds = 3
    torch.set_num_threads(threads)
    problem = Problem.make(network, batch)
    rows: dict[str, Contestant] = {}
    for name, make in field_of(problem, list(densities)).items():
        try:
            rows[name] = make()
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            print(f"no row {name!r}: {missing or error} is not installed; {HOW_TO_GET.get(name, '')}")
    steps = interleave(
        {name: Timed(row.ordinary_step) for name, row in rows.items()},
        budget=budget,
        least_rounds=least_rounds,
    )
    parts = {name: memory.held(row) for name, row in rows.items()}
    moving = [name for d in amortised if (name := ssvi_name(d)) in rows and rows[name].every > 1]
    if quick:  # an interval runs whole or not at all
        moving = [name for name in moving if rows[name].every * steps[name].median < budget / 2]
    for name in moving:
        parts[name]["growth"] = memory.growth(rows[name])  # by a whole interval, which warms up as well
    intervals = {}
    if moving:
        opponents = {DETERMINISTIC: Timed(rows[DETERMINISTIC].step)}
        opponents |= {name: Timed(rows[name].interval, rows[name].every, warm=False) for name in moving}
        intervals = interleave(
            opponents,
            budget=budget / 2,
            least_rounds=1 if quick else least_rounds,
            turn=INTERVAL_TURN,
            warmed_up=True,
        )
    return {
        "network": network,
        "batch": batch,
        "threads": threads,
        "steps": {name: vars(summary) for name, summary in steps.items()},
        "intervals": {name: vars(summary) for name, summary in intervals.items()},
        "memory": parts,
    }


# -- what the cells say ---------------------------------------------------------------------------------


def ratio(cell: Cell, row: str, to: str = DETERMINISTIC, kind: str = "steps") -> float | None:
    """Median of a row over the median of another; None where one of them was not run."""
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
    """A cell's table, under COLUMNS."""
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
    """Mebibytes held between two steps, under MEMORY_COLUMNS."""
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
    """Where a sparse Bayesian step is slower than a plain one (than the fastest of them), under LOSS_COLUMNS."""
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
    """Columns and rows of all cells: the deterministic step in ms, every other as a multiple of it."""
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
    """The JSON keys. Without a suffix: batch 128, one thread; null: that peer or cell was not run."""
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


# -- running --------------------------------------------------------------------------------------------


def load(path: Path | None) -> list[Cell]:
    """The cells that a results file holds."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def keep(path: Path, cell: Cell) -> None:
    """Write ``cell`` into the results file, in place of the same cell measured before."""

    def place(c: Cell) -> tuple[int, int, int]:
        return list(NETWORKS).index(c["network"]), c["threads"], c["batch"]

    others = [c for c in load(path) if place(c) != place(cell)]
    atomic.write(path, "".join(json.dumps(c) + "\n" for c in sorted([*others, cell], key=place)).encode())


def show(cell: Cell) -> None:
    print_table(title(cell), COLUMNS, body(cell))
    if cell["threads"] == 1:
        name = f"{cell['network']}, batch {cell['batch']}: mebibytes between two steps"
        print_table(name, MEMORY_COLUMNS, memory_body(cell))


def peaks(cell: Cell, names: Iterable[str]) -> dict[str, int]:
    """Peak growth of resident memory of rows, each in a process of its own, bytes."""
    found = {n: memory.peak_in_a_process_of_its_own(cell["network"], n, cell["batch"]) for n in names}
    return {name: value for name, value in found.items() if value is not None}


def print_peak(network: str, row: str, batch: int) -> None:
    torch.set_num_threads(1)
    makers: dict[str, Callable[[], Contestant]] = field_of(Problem.make(network, batch), DENSITIES)
    deterministic(Problem.make(network, 2)).step()  # what libraries allocate at their first use is nobody's
    print(json.dumps({"bytes": memory.peak(makers[row], steps=5)}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="batch 128, one thread, within five minutes")
    parser.add_argument("--results", type=Path, help="keep the cells in this file")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--threads", nargs="+", type=int, default=list(THREADS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="budget of a cell's ordinary steps")
    parser.add_argument("--peak", nargs=3, metavar=("NETWORK", "ROW", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        network, row, batch = arguments.peak
        print_peak(network, row, int(batch))
        return
    quick = arguments.quick
    where = machine.describe()
    print(machine.line(where))
    cells = []
    for network in arguments.networks:
        for threads in [1] if quick else arguments.threads:
            for batch in [128] if quick else arguments.batches:
                cell = measure(
                    network,
                    batch,
                    threads,
                    QUICK_DENSITIES if quick else DENSITIES,
                    budget=QUICK_SECONDS[network] if quick else arguments.seconds,
                    amortised=(CLAIM,) if quick else (0.10, CLAIM, 0.02),
                    quick=quick,
                )
                gc.collect()
                if threads == 1 and batch == 128 and not quick:
                    cell["peak"] = peaks(cell, cell["steps"])
                elif network == "mlp" and quick:
                    cell["peak"] = peaks(cell, [DETERMINISTIC, MEAN_FIELD, ssvi_name(CLAIM)])
                cell["machine"] = where
                if arguments.results:
                    keep(arguments.results, cell)
                show(cell)
                cells.append(cell)
    lost = losses(cells)
    print_table("Where SSVI loses to a deterministic step", LOSS_COLUMNS, lost or [["nowhere", *[""] * 5]])
    finish("train_step", {**figures(cells), "losses": len(lost)})


if __name__ == "__main__":
    main()
