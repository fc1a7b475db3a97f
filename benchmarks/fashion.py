"""Fashion-MNIST, MLP 784-512-512-10: accuracy, uncertainty and cost of sparse and dense methods.

    python benchmarks/fashion.py --data-root DATA [--quick | --select | --race] [--results FILE.jsonl]

DATA holds fashion_mnist/ (four idx.gz files) and ood/kmnist-test-imgs.npz. Two regimes: all 50 000 training
images, and 2 000. All rows have the same number of epochs, batch size and learning-rate schedule. The tuned
hyperparameters (learning rate of each family, temperature, interval between moves of the support) were selected with
``--select``, which trains with seed 100 and uses the validation images only; the selected values are in SELECTED.
There are two worker processes with one thread each. ``--results`` stores finished rows, so that a run can be resumed.
Joules are estimated from counted operations (:func:`szilard.cost.joules`).

Times of separate runs cannot be compared if the load of the machine changes. ``--race`` trains the deterministic
network, dense mean-field and SSVI 95 % alternately, epoch by epoch, in one process with one thread
(:mod:`training.race`); ``--results`` then names the file for the curves.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch

from common.harness import finish, print_table
from szilard import atomic, methods
from training import race
from uncertainty.fashion_runs import (
    BATCH,
    CANDIDATES,
    NETWORK,
    REGIMES,
    ROWS,
    SAMPLES,
    SELECTED,
    dataset,
    finished,
)
from uncertainty.fashion_tables import COLUMNS, body, by_row, candidates_table, figures


def select(root: str, regimes: Iterable[str], results: Path | None) -> None:
    """Print the validation figures of every candidate."""
    jobs = [
        {
            "root": root,
            "regime": r,
            "row": f,
            "method": m,
            "options": {**o, **c},
            "seed": 100,
            "split": "valid",
        }
        for r in regimes
        for f, (m, o, candidates) in CANDIDATES.items()
        for c in candidates
    ]
    found = list(finished(jobs, results))
    for regime in regimes:
        print_table(f"Validation, {regime}", *candidates_table(found, regime))


RACERS = ("deterministic", "dense mean-field, best T", "SSVI 95 %")


def run_race(root: str, epochs: int, results: Path | None) -> None:
    """All training data, seed 0, one thread."""
    torch.set_num_threads(1)
    part = dataset(root, None)
    racers = []
    for row in RACERS:
        family, name, options = ROWS[row]
        method = methods.make(name, len(part.train), seed=0, **{**SELECTED[family]["all"], **options})
        racers.append(race.Racer.make(row, NETWORK, method, part, epochs, BATCH))
    curves = race.run(racers, part, samples=SAMPLES)
    if results:
        atomic.write(results, "".join(json.dumps(curve) + "\n" for curve in curves).encode())
    title = f"Fashion-MNIST, {epochs} alternating epochs, one thread, batch {BATCH}"
    print_table(title, race.COLUMNS, race.body(curves))
    finish("fashion_race", race.figures(curves))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--quick", action="store_true", help="2 seeds instead of 5")
    parser.add_argument(
        "--select", action="store_true", help="print validation figures of the candidates instead"
    )
    parser.add_argument(
        "--race", action="store_true", help="train three networks alternately and compare times"
    )
    parser.add_argument("--epochs", type=int, default=REGIMES["all"]["epochs"], help="of the race")
    parser.add_argument("--regime", choices=[*REGIMES, "both"], default="both")
    parser.add_argument("--seeds", type=int, help="number of seeds (5, or 2 with --quick)")
    parser.add_argument(
        "--results", type=Path, help="store finished runs in this file, and skip those that are already there"
    )
    arguments = parser.parse_args()
    regimes = list(REGIMES) if arguments.regime == "both" else [arguments.regime]
    if arguments.select:
        select(arguments.data_root, regimes, arguments.results)
        return
    if arguments.race:
        run_race(arguments.data_root, arguments.epochs, arguments.results)
        return
    seeds = arguments.seeds or (2 if arguments.quick else 5)
    jobs = [
        {
            "root": arguments.data_root, "regime": regime, "row": row, "method": method, "seed": seed, "split": "test",
            "options": {**SELECTED[family][regime], **options},
        }
        for seed in range(seeds)
        for regime in regimes
        for row, (family, method, options) in ROWS.items()
    ]  # fmt: skip
    found = list(finished(jobs, arguments.results))
    rows = {regime: by_row(found, regime) for regime in regimes}
    for regime in regimes:
        title = "all 50 000 training images" if regime == "all" else "2 000 training images"
        epochs = REGIMES[regime]["epochs"]
        print_table(
            f"Fashion-MNIST, {title}, {epochs} epochs, {seeds} seeds, S = {SAMPLES}; OOD: KMNIST",
            COLUMNS,
            body(rows[regime]),
        )
    finish("fashion", figures(rows))


if __name__ == "__main__":
    main()
