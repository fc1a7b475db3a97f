"""Galen: channels and bits of every layer of ResNet-20 for a latency in ONNX Runtime, by searchers and uniformly.

    python benchmarks/galen.py --data-root DIR [--quick] [--part PART] [--workers N] [--scratch DIR]
                               [--results FILE.json] [--epochs N] [--evaluations N] [--seeds N]

The pretrained ResNet-20 for CIFAR-10, one image at a time, one thread. A search sees 512 training images without
labels, drawn by the seed; fine-tuning is on the training images, mirrored and shifted, with labels; the test set judges
the finished files, once. Accuracy is that of the ONNX file in ONNX Runtime. Latency is that of the same files, which
take turns with the original network in one process.

Two levels of fine-tuning: *short*, a few hundred steps, the same for every row, compares searchers; *long*,
``--epochs`` passes, is for the default searcher at targets 0.4 and 0.6. *Unlabelled* sees the 512 images only.

Parts, in this order; without ``--part`` all of them:

* toy: searchers where KL and cost are formulas: three decisions with a known optimum, and a chain of forty.
* bounds: milliseconds of single layers, of uniform policies, and of networks with nearly no channels.
* search: a policy for each searcher, target and seed.
* train: fine-tunes the networks of these policies, and writes their files.
* judge: accuracy of the files on the test set.
* ranking: KL of these policies without training and after a few steps of it, beside the accuracy after the short one.
* measure: latency of all files; let nothing else run meanwhile.

Each finished cell is kept in the scratch folder: a run that was stopped continues, and ``--workers 2`` shares the cells
of search, train, judge and ranking between two processes. ``--quick``: one seed, fewer policies, images and steps,
2,000 test images; gates that rest on training are not judged then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import threadpoolctl
import torch

from common import machine
from common.harness import finish, print_table, progress
from policies import (
    collected,
    compiled_networks,
    finished_networks,
    galen_figures,
    galen_tables,
    layer_times,
    plan,
    ranking,
    searching,
    timing,
    toys,
)
from policies.kept import Kept, Row
from policies.material import Material, resnet20
from szilard import atomic, deploy

PARTS = ("toy", "bounds", "search", "train", "judge", "ranking", "measure")
SHARED = ("search", "train", "judge", "ranking")  # parts whose cells several processes can make
ROOT = Path(__file__).parents[1]
NOTHING = 0.5  # seconds of a part whose cells were there already


class Run:
    """What the parts of a run share.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.quick: bool = options.quick
        settings = plan.QUICK if options.quick else plan.FULL
        asked = {
            "epochs": options.epochs,
            "evaluations": options.evaluations,
            "seeds": tuple(range(options.seeds or 0)),
        }
        self.settings = replace(settings, **{name: value for name, value in asked.items() if value})
        self.scratch: Path = options.scratch or ROOT / "runs" / ("galen-quick" if self.quick else "galen")
        self.kept = Kept(self.scratch, self.settings.as_json() | {"quick": self.quick})
        self._root: Path = options.data_root
        self._material: Material | None = None

    @property
    def material(self) -> Material:
        """Network and data; they are read when they are needed first."""
        if self._material is None:
            self._material = resnet20(self._root)
        return self._material

    def toy(self) -> None:
        counts = toys.QUICK_CHAIN if self.quick else toys.CHAIN
        self.kept.make("toy", lambda: {"rows": toys.measured(self.settings.toy, self.settings.seeds, counts)})

    def bounds(self) -> Row:
        """Made once; a search for the latency of uniform int8 needs it."""

        def work() -> Row:
            network, inputs = self.material.network, self.material.calibration(0, self.settings.calibration)
            steps, seconds = self.settings.shares, self.settings.seconds
            return {
                **layer_times.of_networks(network, inputs, steps, seconds, integers=not self.quick),
                "layers": layer_times.by_layer(network, inputs, searching.table_path(self.kept)),
            }

        return self.kept.make("bounds", work)

    def search(self) -> None:
        bounds = self.bounds()
        self.kept.fill(
            {
                cell.name: lambda cell=cell: searching.found(
                    cell, self.material, self.settings, self.kept, bounds
                )
                for cell in plan.cells(self.settings, self.quick)
            }
        )

    def train(self) -> None:
        self.kept.fill(
            {
                one.name: lambda one=one: finished_networks.trained(
                    one, self.material, self.settings, self.kept
                )
                for one in plan.finishes(self.settings, self.quick)
            }
        )

    def judge(self) -> None:
        images = self.material.test(self.settings.judged)
        jobs: dict[str, Callable[[], Row]] = {
            collected.judged_name(one): lambda one=one: finished_networks.judged(
                finished_networks.file_of(self.kept, one), images
            )
            for one in plan.finishes(self.settings, self.quick)
        }
        self.kept.fill(jobs | {collected.ORIGINAL_JUDGED: lambda: self._original(images)})

    def _original(self, images: Any) -> Row:
        network = compiled_networks.original(self.material.network, self.material.calibration(0, 64), None)
        return {"accuracy": finished_networks.accuracy(network, images), "images": len(images.y)}

    def ranking(self) -> None:
        effects = ranking.Effects(self.material, self.settings)
        self.kept.fill(
            {
                ranking.name(one.cell): lambda one=one: ranking.measured(one.cell, effects, self.kept)
                for one in ranking.chosen(self.settings, self.quick)
            }
        )

    def measure(self) -> None:
        """Latency of all files; it is measured again each time."""
        inputs = self.material.calibration(0, 64)
        files = {
            one.name: deploy.load(finished_networks.file_of(self.kept, one), threads=1)
            for one in plan.finishes(self.settings, self.quick)
        }
        batch = next(iter(files.values())).batch
        everything = {
            timing.ORIGINAL: compiled_networks.original(self.material.network, inputs, batch),
            **files,
        }
        found = timing.timed(everything, inputs[:1], self.settings.seconds)
        atomic.write(self.kept.path(collected.LATENCIES), json.dumps(found).encode())


def helpers(part: str, options: argparse.Namespace, run: Run) -> list[subprocess.Popen[bytes]]:
    """Further processes that make cells of a part; what they print is not shown."""
    if part not in SHARED or options.workers < 2:
        return []
    command = [sys.executable, __file__, "--data-root", str(options.data_root), "--part", part]
    command += ["--scratch", str(run.scratch), *(["--quick"] if run.quick else [])]
    command += [
        "--helper",
        "--epochs",
        str(run.settings.epochs),
        "--evaluations",
        str(run.settings.evaluations),
        "--seeds",
        str(len(run.settings.seeds)),
    ]
    return [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(options.workers - 1)]


def make(part: str, options: argparse.Namespace, run: Run) -> None:
    """Make a part, with its duration and the machine."""
    started, where = time.time(), machine.describe()
    if part == "search":
        run.bounds()  # not by several processes at once: it is measured
    others = helpers(part, options, run)
    try:
        getattr(run, part)()
    finally:
        for other in others:
            other.wait()
    seconds = time.time() - started
    if seconds < NOTHING or options.helper:
        return
    collected.note_run(run.kept, part, seconds, options.workers if others else 1, where)
    progress(f"{part}: {seconds / 60:.1f} minutes")


def tables(found: Row) -> None:
    """Print everything that was measured."""
    for title, columns, body in galen_tables.ALL:
        if rows := body(found):
            print_table(title, columns, rows)
    for line in [*galen_figures.notes(found), *galen_figures.missed(found)]:
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True, help="holds CIFAR-10 and pretrained/")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--part", choices=PARTS, action="append", help="do this part only; repeatable")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that share cells, one for each core"
    )
    parser.add_argument("--epochs", type=int, help="passes of the long fine-tuning")
    parser.add_argument("--evaluations", type=int, help="policies that a search tries")
    parser.add_argument("--seeds", type=int, help="number of seeds")
    parser.add_argument(
        "--scratch", type=Path, help="folder of cells, by default runs/galen or runs/galen-quick"
    )
    parser.add_argument("--results", type=Path, help="file for everything that was measured")
    parser.add_argument(
        "--helper", action="store_true", help=argparse.SUPPRESS
    )  # shares a part with its parent
    options = parser.parse_args()
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)  # numpy's BLAS
    print(machine.line(machine.describe()))
    run = Run(options)
    for part in [part for part in PARTS if part in (options.part or PARTS)]:
        make(part, options, run)
    if options.helper:
        return
    found = collected.found(run.kept, run.settings, run.quick)
    if options.results:
        atomic.write(options.results, (json.dumps(found) + "\n").encode())
    tables(found)
    finish("galen", galen_figures.figures(found))


if __name__ == "__main__":
    main()
