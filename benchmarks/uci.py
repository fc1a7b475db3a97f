"""UCI regression, one hidden layer of 50, the 20 splits of the literature: RMSE and log likelihood.

    python benchmarks/uci.py --data-root DATA [--quick] [--results FILE.jsonl]

DATA holds uci/<set>/ with data.txt and the index files of the splits. The noise is homoscedastic and learned, T = 1,
and the number of epochs is the same for every row. ``--quick``: 4 splits of each set.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from common.harness import finish, print_table, spread
from szilard import data, methods, metrics, networks

SETS = {
    "concrete": 1.0,
    "energy": 1.0,
    "power-plant": 0.3,
    "wine-quality-red": 1.0,
    "yacht": 1.0,
}  # data set -> share of STEPS
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "deterministic": ("deterministic", {}),
    "dense mean-field": ("mean-field", {"temperature": 1.0}),
    "SSVI 50 %": ("ssvi", {"temperature": 1.0, "density": 0.5}),
    "SSVI 30 %": ("ssvi", {"temperature": 1.0, "density": 0.3}),
}
STEPS, BATCH, SAMPLES = 4000, 64, 100

Job = dict[str, Any]


def work(job: Job) -> Job:
    torch.set_num_threads(1)
    part = data.load(job["set"], job["root"], split=job["split"], seed=job["split"])
    name, options = ROWS[job["row"]]
    per_epoch = math.ceil(len(part.train) / BATCH)
    epochs = max(20, round(STEPS * SETS[job["set"]] / per_epoch))
    method = methods.make(
        name, len(part.train), lr=1e-2, total_steps=epochs * per_epoch, seed=job["split"],
        **({"every": 50} if name == "ssvi" else {}), **options,
    )  # fmt: skip
    network = networks.build("mlp:50", part.input_shape, part.n_outputs, seed=job["split"])
    network = method.prepare(network, part.task)
    optimizer = method.optimizer(network)
    for epoch in range(epochs):
        for x, y in data.batches(part.train, BATCH, seed=job["split"], epoch=epoch):
            method.anneal(optimizer)
            method.loss(network, x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(network, optimizer)
    predictive = method.predict(network, part.test.x, samples=SAMPLES)
    found = metrics.evaluate(predictive, part.test.y, target_scale=part.target_scale)
    return {
        **job,
        "figures": {
            "rmse": found["rmse"],
            "log_likelihood": -found["nll"],
            "coverage95": found["coverage95"],
        },
    }


COLUMNS = ["set, method", "RMSE", "log likelihood", "coverage of 95 %"]


def by_row(done: Iterable[Job], name: str, row: str, figure: str) -> list[float]:
    return [job["figures"][figure] for job in done if job["set"] == name and job["row"] == row]


def body(done: Sequence[Job]) -> list[list[str]]:
    """The table's cells: mean and standard error over splits, under COLUMNS."""
    return [
        [
            f"{name}, {row}",
            *(spread(by_row(done, name, row, f)) for f in ("rmse", "log_likelihood", "coverage95")),
        ]
        for name in SETS
        for row in ROWS
    ]


def figures(done: Sequence[Job]) -> dict[str, float]:
    return {
        f"{name}_{row.lower().replace(' %', '').replace(' ', '_').replace('-', '_')}_{figure}": round(
            statistics.fmean(by_row(done, name, row, figure)), 4
        )
        for name in SETS
        for row in ROWS
        for figure in ("rmse", "log_likelihood")
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--splits", type=int, default=20, help="number of the 20 published splits to use")
    parser.add_argument("--results", type=Path, help="write every run to this file as JSON lines")
    arguments = parser.parse_args()
    splits = range(4 if arguments.quick else arguments.splits)
    jobs = [
        {"root": arguments.data_root, "set": name, "row": row, "split": split}
        for name in SETS
        for row in ROWS
        for split in splits
    ]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        done = list(pool.imap_unordered(work, jobs))
    if arguments.results:
        arguments.results.write_text(
            "".join(json.dumps({k: v for k, v in j.items() if k != "root"}) + "\n" for j in done)
        )
    print_table(f"UCI regression, {len(splits)} splits", COLUMNS, body(done))
    finish("uci", figures(done))


if __name__ == "__main__":
    main()
