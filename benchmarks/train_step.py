"""Time and memory of one training step: sparse Bayesian networks compared with dense and deterministic ones.

    python benchmarks/train_step.py [--quick] [--results FILE.jsonl]

Every row trains the same network on the same batch. A step includes zero_grad, the loss with its divergence, the
backward pass, the optimiser, and the method's ``after_step``. All rows are timed alternately in one process
(:mod:`szilard.cost.interleave`); figures are ratios of medians. A cell is (network, batch size, threads). *Amortised*
is the mean over whole intervals between two moves of the supports, including growth gradients and the move;
``--quick`` leaves it out if it would take too long. ``--results`` stores every cell as one line; a repeated measurement
replaces its line.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterable
from pathlib import Path

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
from training.step_tables import (
    CLAIM,
    COLUMNS,
    DENSITIES,
    LOSS_COLUMNS,
    MEMORY_COLUMNS,
    Cell,
    body,
    figures,
    losses,
    memory_body,
    title,
)

BATCHES = (16, 128, 512)
THREADS = (1, 2)
QUICK_DENSITIES = (0.10, 0.05, 0.02)
SECONDS = 60.0  # time for a cell's ordinary steps; its intervals get half as much in addition
QUICK_SECONDS = {"mlp": 30.0, "resnet20": 60.0, "lenet5": 10.0}
INTERVAL_TURN = 0.2  # minimum seconds of a turn of the rows that are compared with an interval


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
    """All rows of one cell: seconds per ordinary step and per step of an interval, and memory in bytes."""
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
    if quick:  # an interval cannot be measured in part
        moving = [name for name in moving if rows[name].every * steps[name].median < budget / 2]
    for name in moving:
        parts[name]["growth"] = memory.growth(rows[name])  # this runs a whole interval, which also warms up
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


# -- running --------------------------------------------------------------------------------------------


def load(path: Path | None) -> list[Cell]:
    """The cells in a results file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def keep(path: Path, cell: Cell) -> None:
    """Write ``cell`` to the results file, replacing an earlier measurement of the same cell."""

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
    """Largest increase of resident memory of each row, measured in separate processes, bytes."""
    found = {n: memory.peak_in_a_process_of_its_own(cell["network"], n, cell["batch"]) for n in names}
    return {name: value for name, value in found.items() if value is not None}


def print_peak(network: str, row: str, batch: int) -> None:
    torch.set_num_threads(1)
    makers: dict[str, Callable[[], Contestant]] = field_of(Problem.make(network, batch), DENSITIES)
    deterministic(
        Problem.make(network, 2)
    ).step()  # allocations at the first use of libraries are not counted
    print(json.dumps({"bytes": memory.peak(makers[row], steps=5)}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="batch 128, one thread; at most five minutes")
    parser.add_argument("--results", type=Path, help="store the cells in this file")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--threads", nargs="+", type=int, default=list(THREADS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for a cell's ordinary steps")
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
    print_table(
        "Cells in which SSVI is slower than the fastest deterministic step",
        LOSS_COLUMNS,
        lost or [["nowhere", *[""] * 5]],
    )
    finish("train_step", {**figures(cells), "losses": len(lost)})


if __name__ == "__main__":
    main()
