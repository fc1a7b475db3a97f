"""Predictions with uncertainty in one forward pass: their quality beside 100 draws, and the latency of every runtime.

    python benchmarks/one_pass.py --data-root DATA [--quick] [--only PART] [--cache FOLDER] [--results FILE.jsonl]

DATA holds mnist/, fashion_mnist/, cifar-10-batches-bin/ and pretrained/ (ResNet-20, where its training starts).
Networks whose data are missing are left out, and so are their figures. ``--cache`` keeps trained weights, so that a
rerun only measures. Latency: one process, one thread, all runtimes in turn (:mod:`szilard.cost.latency`).
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common import machine
from common.harness import finish, print_table, progress
from prediction import agreement, latency, quality
from prediction.trained import CASES, SPARSE, Trained, dataset, trained, untrained
from szilard import atomic, deploy
from szilard.errors import SzilardError

BATCHES = (1, 10, 100)
#: Cases whose networks are timed, and the names of these in tables.
TIMED = {"MNIST MLP": "MLP", "MNIST LeNet-5": "LeNet-5", "CIFAR-10 ResNet-20": "ResNet-20"}
MODES = {"native": ("point", "moments")}  # others have draws, too
ALL_MODES = ("point", "moments", "samples")
#: Compiling takes the C++ compiler of this runtime many seconds.
SLOW_TO_COMPILE = ("inductor",)
PARTS = ("quality", "agreement", "latency")
Section = dict[str, Any]
Row = dict[str, Any]
FIGURE_COLUMNS = ("figure", "value")


def runtimes(network: str, batch: int, quick: bool, installed: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The modes of each backend that are timed on a network and batch size."""
    found = {}
    for name in installed:
        modes = MODES.get(name, ALL_MODES)
        if quick and name in SLOW_TO_COMPILE:
            if network != "MLP" or batch != 1:
                continue
            modes = ("point", "moments")
        if quick and name != "eager" and (batch == 100 or network == "ResNet-20"):
            modes = tuple(mode for mode in modes if mode != "samples")
        found[name] = modes
    return found


def networks(
    root: str, cache: Path | None, quick: bool, names: Collection[str] | None = None
) -> list[Trained]:
    """The trained networks, all or of these names, whose data are there."""
    found, parts = [], {}
    for case in CASES:
        if names and case.name not in names:
            continue
        try:
            key = (case.data, case.ood)
            if key not in parts:
                parts[key] = dataset(case, root)
            found.append(trained(case, parts[key], cache, quick, root))
        except SzilardError as error:
            progress(f"{case.name} is left out: {error}")
    return found


def latencies(found: Sequence[Trained], quick: bool, installed: Sequence[str]) -> Iterator[list[Row]]:
    """Times of the networks that are trained, and of a sparse one with random weights."""
    budget, longest = (5.0, 0.5) if quick else (40.0, 3.0)
    bare = tuple(name for name in installed if not (quick and name in SLOW_TO_COMPILE))

    def rows(name: str, network: nn.Module, x: Tensor, dense: bool = False) -> list[Row]:
        progress(f"latency of {name}")
        modes = {batch: runtimes(name, batch, quick, installed) for batch in BATCHES}
        return latency.rows(name, network, x, BATCHES, modes, bare, budget, longest, dense)

    for one in found:
        if one.case.name in TIMED:
            yield rows(TIMED[one.case.name], one.network, one.test.x)
    x = torch.randn(BATCHES[-1], *SPARSE.shape, generator=torch.Generator().manual_seed(0))
    yield rows(SPARSE.name, untrained(SPARSE), x, dense=True)


def differences(found: Sequence[Trained], quick: bool, installed: Sequence[str]) -> Iterator[list[Row]]:
    """Of the runtimes, on ten test images."""
    for one in found:
        if one.case.name in TIMED:
            name = TIMED[one.case.name]
            progress(f"differences of runtimes on {name}")
            modes = runtimes(name, 1, quick, installed)
            yield agreement.rows(name, one.network, one.test.x[:10].contiguous(), modes)


def qualities(found: Sequence[Trained], quick: bool, installed: Sequence[str]) -> Iterator[list[Row]]:
    """Figures of draws and of one pass."""
    for one in found:
        progress(f"quality of {one.case.name}")
        # Draws of ResNet-20 take minutes.
        yield [quality.measured(one, again=not (quick and one.case.checkpoint))]


def figures(section: Section) -> dict[str, float | None]:
    """The keys of the last line."""
    rows = section["latency"]
    found: dict[str, float | None] = {}
    for key, name in (("mlp", "MLP"), ("lenet5", "LeNet-5"), ("resnet20", "ResNet-20")):
        if not any(row["network"] == name for row in rows):
            continue
        backend = latency.default_backend(rows, name, 1)
        for part, suffix in (("full", ""), ("bare", "_bare")):
            times = [latency.seconds(rows, name, 1, backend, mode, part) for mode in ("moments", "point")]
            found[f"{key}_moments_vs_point{suffix}"] = latency.ratio(*times)
            for drawn, what in ((False, ""), (True, "_drawn_before")):
                found[f"{key}_svi30{what}_vs_moments{suffix}"] = latency.against_draws(
                    rows, name, 1, backend, drawn, part
                )
    if section["quality"]:
        found |= quality.figures(section["quality"])
    found["max_backend_difference"] = agreement.largest(section["agreement"])
    found |= latency.sparse_figures(rows, SPARSE.name)
    found["tvm_vs_onnxruntime"] = latency.ratio(
        latency.seconds(rows, "LeNet-5", 1, "tvm", "moments"),
        latency.seconds(rows, "LeNet-5", 1, "onnx", "moments"),
    )
    return found


def shown(found: Mapping[str, float | None]) -> list[list[str]]:
    """The figures as a table, under FIGURE_COLUMNS."""
    return [
        [f"`{name}`", "not measured" if value is None else f"{value:.3g}"] for name, value in found.items()
    ]


def named(section: Section) -> list[str]:
    """The networks of the table of latency."""
    return list(dict.fromkeys(row["network"] for row in section["latency"]))


MEASURE = {"quality": qualities, "agreement": differences, "latency": latencies}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--quick", action="store_true", help="short training, fewer runtimes and images")
    parser.add_argument("--cache", type=Path, help="folder for trained weights")
    parser.add_argument(
        "--results", type=Path, help="file for what was measured; parts not measured stay in it"
    )
    parser.add_argument(
        "--network", choices=[case.name for case in CASES], action="append", help="only this one; repeatable"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only; repeatable")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")  # of exporters
    torch.set_num_threads(1)
    print(machine.line(machine.describe()))
    path = arguments.results
    section: Section = json.loads(path.read_text()) if path and path.exists() else {}
    section = {"runs": {}, **{part: [] for part in PARTS}, **section}
    found = networks(arguments.data_root, arguments.cache, arguments.quick, arguments.network)
    section["backends"] = installed = deploy.installed()
    for part in arguments.only or PARTS:
        where, started = machine.describe(), time.time()
        for rows in MEASURE[part](found, arguments.quick, installed):
            names = {row["network"] for row in rows}
            section[part] = [row for row in section[part] if row["network"] not in names] + rows
            seconds = time.time() - started
            section["runs"][part] = {"quick": arguments.quick, "seconds": seconds, "machine": where}
            if path:
                atomic.write(path, (json.dumps(section) + "\n").encode())
    print_table(f"one pass and {quality.DRAWS} draws", quality.COLUMNS, quality.body(section["quality"]))
    print_table(
        "largest differences from plain PyTorch", agreement.COLUMNS, agreement.body(section["agreement"])
    )
    for name in named(section):
        reason = latency.noise(section["latency"], name)
        noisy = f"; noisy: {reason}" if reason else ""
        print_table(f"{name}, one thread{noisy}", latency.COLUMNS, latency.body(section["latency"], name))
    print_table("figures", FIGURE_COLUMNS, shown(figures(section)))
    finish("one_pass", figures(section))


if __name__ == "__main__":
    main()
