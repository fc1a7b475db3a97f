"""Sparse training of image classifiers: accuracy, counted FLOPs, seconds and entries ever alive beside dense training.

    python benchmarks/topology_images.py --data-root DATA [--quick] [--cifar] [--seeds N] [--method NAME]
        [--results FILE.jsonl]

* Fashion-MNIST: an MLP 784-300-100-10, 10 000 training images, 20 epochs.
* CIFAR-10 (``--cifar``): ResNet-20, 10 000 training images with random crops and flips, 20 epochs; a quarter of an
  hour a run on one core, so that ``--quick`` leaves it out. ``cifar_order_holds`` is whether the mean accuracies at
  95 % sparsity are in the published order: dense, RigL, SET, static.

SGD with momentum 0.9, rate 0.1 along a cosine, batch 128, densities by Erdős-Rényi-Kernel, moves every 50 steps. Each
row is one :func:`szilard.fit`: its own validation split, test figures of the last epoch, mean ± standard error over
seeds. DATA holds fashion_mnist/ and cifar-10-batches-bin/. ``--results`` stores finished runs, so that the benchmark
can be stopped and continued, and more of it can be added later. ``--quick``: Fashion-MNIST at 95 %, two seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from pathlib import Path
from typing import Any

import torch

import topology
from common.harness import finish, print_table, progress
from szilard import data, fit, methods
from szilard.errors import SzilardWarning

DENSITIES, QUICK_DENSITIES = (0.1, 0.05, 0.02), (0.05,)
EPOCHS, TRAIN, BATCH, RATE, EVERY = 20, 10_000, 128, 0.1, 50
#: Name of the data set, network and augmentation.
TASKS = {"fashion": ("fashion-mnist", "mlp:300,100", None), "cifar": ("cifar10", "resnet20", "crop-flip")}
METHODS = ("static", "set", "rigl", "srigl", "itop", "snfs", "topkast", "gradual", "granet", "acdc")
CIFAR_METHODS = ("static", "set", "rigl", "granet")
WITHOUT_MOVES = ("dense", "acdc")
ORDER = ("dense", "rigl", "set", "static")
Row = dict[str, Any]


def trained(task: str, name: str, density: float, seed: int, part: data.DataSet) -> Row:
    """Figures of one run; ``name`` "dense" is ordinary training."""
    _, network, augment = TASKS[task]
    options: dict[str, Any] = {} if name == "dense" else {"density": density}
    if name not in WITHOUT_MOVES:
        options["every"] = EVERY
    method = methods.make(
        "deterministic" if name == "dense" else name,
        len(part.train),
        seed=seed,
        lr=RATE,
        optimizer="sgd",
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", SzilardWarning
        )  # of few inputs of a unit at 2 %: the accuracy shows it
        run = fit(
            method,
            network,
            part,
            epochs=EPOCHS,
            batch_size=BATCH,
            augment=augment,
            seed=seed,
            samples=1,
            progress=False,
        )
    alive = run.history[-1].get("supports", {}).get("ever_alive")
    return {
        "task": task, "method": name, "density": density, "seed": seed,
        **{key: run.test[key] for key in ("accuracy", "nll", "ece")},
        "train_flops": run.cost.train_flops, "seconds": run.history[-1]["seconds"], "ever_alive": alive,
    }  # fmt: skip


def ordered(rows: list[Row]) -> list[Row]:
    """Dense training first, then from high to low density, in the order of METHODS."""
    names = ("dense", *METHODS)
    return sorted(rows, key=lambda row: (-row["density"], names.index(row["method"]), row["seed"]))


def accuracy(rows: list[Row], name: str, density: float) -> float | None:
    """Mean accuracy, or None if it was not measured."""
    found = [
        row["accuracy"]
        for row in rows
        if row["method"] == name and (name == "dense" or row["density"] == density)
    ]
    return statistics.fmean(found) if found else None


def figures(rows: list[Row]) -> Row:
    """Keys of the last line, from the runs there are."""
    found: Row = {}
    for task in TASKS:
        here = [row for row in rows if row["task"] == task]
        means = [accuracy(here, name, 0.05) for name in ORDER]
        known = [mean for mean in means if mean is not None]
        if len(known) == len(ORDER):
            found[f"{task}_order_holds"] = known == sorted(known, reverse=True)
            found |= {f"{task}_{name}_95_accuracy": mean for name, mean in zip(ORDER, known, strict=True)}
            found[f"{task}_seeds"] = len({row["seed"] for row in here})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--quick", action="store_true", help="Fashion-MNIST at 95 %% only, two seeds")
    parser.add_argument("--cifar", action="store_true", help="CIFAR-10 at 95 %% instead of Fashion-MNIST")
    parser.add_argument("--seeds", type=int, help="3 by default")
    parser.add_argument(
        "--method", action="append", help="run this method only, and dense training; repeatable"
    )
    parser.add_argument("--results", type=Path, help="JSON lines of finished runs, which are not repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = "cifar" if arguments.cifar else "fashion"
    densities = QUICK_DENSITIES if arguments.quick or arguments.cifar else DENSITIES
    names = arguments.method or (CIFAR_METHODS if arguments.cifar else METHODS)
    seeds = arguments.seeds or (2 if arguments.quick else 3)
    part = data.load(TASKS[task][0], arguments.data_root, n_train=TRAIN, ood="none")
    lines = (
        arguments.results.read_text().splitlines() if arguments.results and arguments.results.exists() else []
    )
    rows: list[Row] = [json.loads(line) for line in lines]
    done = {(row["task"], row["method"], row["density"], row["seed"]) for row in rows}
    for seed in range(seeds):
        for name, density in [("dense", 1.0), *((name, density) for density in densities for name in names)]:
            if (task, name, density, seed) in done:
                continue
            rows.append(trained(task, name, density, seed, part))
            progress(f"{name} at {100 * density:g} %, seed {seed}: {100 * rows[-1]['accuracy']:.2f} %")
            if arguments.results is not None:
                with arguments.results.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print_table(task, topology.COLUMNS, topology.body(ordered([row for row in rows if row["task"] == task])))
    finish("topology_images", figures(rows))


if __name__ == "__main__":
    main()
