"""Filters for streams: forgetting and detection beside persistence, never forgetting, and river.

    python benchmarks/streams.py --data-root DATA [--quick] [--only PART] [--results FILE.json]

On Elec2 forgetting, not detection, wins: greedy search is as good as tempering, and finds a change at most rows. DATA
holds streams/, uci/power-plant/ and mnist/. Every row is predicted before it is learned.

* log_odds: Elec2 as the published regression, features and target of one row (:func:`streaming.recorded.log_odds`);
  mean cumulative absolute error × 100. ``elec2_bf98`` (published: 13.37), ``elec2_temper``, ``elec2_vbs1``; beside them
  ``elec2_persistence``, ``elec2_vcl`` and river's Bayesian linear regression.
* labels: Elec2's and the weather's labels from the columns of the file; presets of ``OnlineClassifier``, which
  standardises by the rows before, and river's classifiers with their own settings. Probabilities are cut to
  [1e-6, 1 - 1e-6] for all, and are .5 until both classes have occurred. ``bank_minus_best_rate_nll``: the bank against
  the best of its rates alone, chosen in hindsight, on the worse stream; ``river_best_minus_bank_nll``: the best of
  river in hindsight minus the bank, on the worse stream; ``weather_bank_minus_vcl_nll_se`` from blocks of 30 days;
  ``wound_up``: presets times streams with more than 1 nat.
* resets: a linear regression whose weights are drawn anew (:mod:`streaming.resets`). ``joint_minus_conditional_nll``: a
  beam minus the published one without the parent's evidence; ``change_precision`` and ``change_recall`` of the run
  length, with a tolerance of 5 rows.
* faults: a power plant whose temperature sensor fails (:mod:`streaming.sensors`), noise unknown: run length minus the
  best rate alone, in hindsight; the same for faults of any of the four sensors, on most of which the power hardly
  depends.
* digits: MNIST images that turn (:mod:`streaming.digits`), an MLP: a belief that is carried from batch to batch minus
  one that starts again, and variational beam search with as many gradient steps in total.

``--quick``: 2 seeds instead of 3 (resets, faults, digits), and without river's slowest (ADWIN bagging, leveraging
bagging, streaming random patches).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from common import machine
from common.harness import finish, print_table, progress
from streaming import digits, labelled, log_odds, resets, river_peers, sensors, stream_figures
from szilard import atomic

PARTS = ("resets", "log_odds", "labels", "faults", "digits")
SEEDS, QUICK_SEEDS = 3, 2
Row = dict[str, Any]


def jobs(parts: Sequence[str], root: Path, quick: bool) -> list[Row]:
    """What is measured, a dictionary for each process call; river's slowest are the last."""
    seeds = range(QUICK_SEEDS if quick else SEEDS)
    found: list[Row] = []
    for part in parts:
        if part == "labels":
            names = labelled.names(quick)
            found += [{"part": part, "stream": s, "name": n} for s in stream_figures.STREAMS for n in names]
        elif part == "log_odds":
            found += [{"part": part, "name": name} for name in log_odds.NAMES]
        else:
            known = {"resets": resets.METHODS, "faults": sensors.SENSORS, "digits": digits.METHODS}[part]
            found += [{"part": part, "name": name, "seed": seed} for name in known for seed in seeds]
    found.sort(key=lambda job: job["name"].removeprefix("river, ") in river_peers.FULL_ONLY)
    return [{"root": str(root), **job} for job in found]


def work(job: Row) -> Row:
    """The row of a job: itself without the folder, its figures, and the seconds that it took."""
    torch.set_num_threads(1)
    root, started = Path(job.pop("root")), time.process_time()
    name, seed = job["name"], job.get("seed", 0)
    if job["part"] == "labels":
        found = labelled.measured(root, job["stream"], name)
    elif job["part"] == "log_odds":
        found = log_odds.measured(root, name)
    elif job["part"] == "resets":
        found = resets.measured(name, seed)
    elif job["part"] == "faults":
        found = sensors.measured(root, name, seed)
    else:
        found = digits.measured(root, name, seed)
    return {**job, **found, "seconds": time.process_time() - started}


def tables(rows: Sequence[Row]) -> None:
    """Print everything that was measured."""
    for title, columns, body in (
        ("Elec2, log-odds of the price", stream_figures.LOG_ODDS_COLUMNS, stream_figures.log_odds_body(rows)),
        ("labels", stream_figures.LABEL_COLUMNS, stream_figures.label_body(rows)),
        ("each rate alone", stream_figures.RATE_COLUMNS, stream_figures.rate_body(rows)),
        ("synthetic resets", stream_figures.RESET_COLUMNS, stream_figures.reset_body(rows)),
        ("sensor faults, noise unknown", stream_figures.FAULT_COLUMNS, stream_figures.fault_body(rows)),
        ("turning digits", stream_figures.DIGIT_COLUMNS, stream_figures.digit_body(rows)),
    ):
        if body:
            print_table(title, columns, body)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only; repeatable")
    parser.add_argument(
        "--results", type=Path, help="file for what was measured; parts not measured stay in it"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
    where, started = machine.describe(), time.time()
    print(machine.line(where))
    parts = [part for part in PARTS if part in (arguments.only or PARTS)]
    path = arguments.results
    kept: dict[str, Any] = {"rows": [], "runs": {}}
    if path and path.exists():
        kept = json.loads(path.read_text())
    rows = [row for row in kept["rows"] if row["part"] not in parts]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for row in pool.imap_unordered(work, jobs(parts, arguments.data_root, arguments.quick)):
            rows.append(row)
            progress(f"{row['part']} {row.get('stream', '')} {row['name']}: {row['seconds']:.0f} s")
            seconds = time.time() - started
            run = {"quick": arguments.quick, "seconds": seconds, "machine": where}
            if path:
                section = {"runs": {**kept["runs"], **dict.fromkeys(parts, run)}, "rows": rows}
                atomic.write(path, (json.dumps(section) + "\n").encode())
    found = stream_figures.figures(rows)
    print(stream_figures.reading(rows))
    tables(rows)
    for line in stream_figures.missed(found):
        print(line)
    if not river_peers.installed():
        print(f"river is not installed, and its figures are null: {river_peers.PIP}")
    finish("streams", found)


if __name__ == "__main__":
    main()
