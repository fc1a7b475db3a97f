"""Latency of compiled networks: every installed backend, in one process and in turn.

    python benchmarks/backends.py [--quick] [--threads N] [--results FILE.jsonl]

An MLP with two hidden layers of 100 units and LeNet-5, both for 28x28 images, dense, with Gaussian weights; as a point
(mean weights) and with moments (mean and variance of every activation in one pass), batches of 1, 10 and 100. Times
include the answer, its two uncertainties and all checks of :class:`szilard.deploy.Compiled`. ``difference`` is the
largest difference of class probabilities to plain PyTorch. A backend that cannot compile a network is listed with its
reason.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import szilard
from common import machine
from common.harness import finish, print_table
from szilard import SzilardError, atomic, deploy, networks
from szilard.cost.interleave import Timed, interleave

SHAPE, CLASSES = (1, 28, 28), 10
NETWORKS = {"mlp": "mlp:100,100", "lenet5": "lenet5"}
MODES, BATCHES = ("point", "moments"), (1, 10, 100)
SECONDS, QUICK_SECONDS = 6.0, 2.0  # time for one network, mode and batch, all backends
SPREAD = -3.0  # log standard deviation of weights
COLUMNS = ("backend", "µs", "quartiles", "times eager", "difference", "compiled in")


def network(spec: str) -> nn.Module:
    """A network with Gaussian weights, in eval mode."""
    made = szilard.bayesianize(networks.build(spec, SHAPE, CLASSES), density=1.0).eval()
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if name.endswith("log_std"):
                tensor.fill_(SPREAD)
    return made


def compiled(
    made: nn.Module, x: Tensor, backend: str, mode: str, threads: int
) -> tuple[deploy.Compiled | None, float, str]:
    """The compiled network (None if the backend cannot), seconds it took, and why it cannot."""
    started = time.perf_counter()
    try:
        found = deploy.compile(made, x, backend=backend, mode=mode, threads=threads)
    except SzilardError as error:
        return None, time.perf_counter() - started, str(error)
    return found, time.perf_counter() - started, ""


def measure(name: str, mode: str, backends: list[str], threads: int, budget: float) -> list[dict[str, Any]]:
    """A row for each batch and backend."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(max(BATCHES), *SHAPE, generator=generator)
    made = network(NETWORKS[name])
    found = {backend: compiled(made, x[:2], backend, mode, threads) for backend in backends}
    usable = {backend: one for backend, (one, _, _) in found.items() if one is not None}
    rows = []
    for batch in BATCHES:
        inputs = x[:batch]
        wanted = usable["eager"](inputs).answer
        times = interleave({one: Timed(partial(run, inputs)) for one, run in usable.items()}, budget=budget)
        for backend, (one, seconds, why) in found.items():
            row = {"network": name, "mode": mode, "batch": batch, "backend": backend}
            row |= {"compile_seconds": round(seconds, 1)}
            if one is None:
                rows.append(row | {"reason": why})
                continue
            summary = times[backend]
            rows.append(
                row
                | {
                    "us": round(1e6 * summary.median, 1),
                    "low_us": round(1e6 * summary.low, 1),
                    "high_us": round(1e6 * summary.high, 1),
                    "times_eager": round(times["eager"].median / summary.median, 2),
                    "difference": float((one(inputs).answer - wanted).abs().max()),
                }
            )
    return rows


def body(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The cells of a table of rows."""
    return [
        [row["backend"], "–", "–", "–", "–", row["reason"][:60]]
        if "reason" in row
        else [
            row["backend"], f"{row['us']:.1f}", f"{row['low_us']:.1f}–{row['high_us']:.1f}",
            f"{row['times_eager']:.2f}", f"{row['difference']:.1e}", f"{row['compile_seconds']:.1f} s",
        ]
        for row in rows
    ]  # fmt: skip


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the last line: microseconds by network, mode, batch and backend, and the largest difference."""
    done = [row for row in rows if "us" in row]
    found = {f"{row['network']}_{row['mode']}_{row['batch']}_{row['backend']}_us": row["us"] for row in done}
    return found | {
        "max_difference": max(row["difference"] for row in done),
        "not_compiled": sorted(
            {f"{row['network']} {row['mode']} {row['backend']}" for row in rows if "reason" in row}
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less time for each comparison")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--backends", nargs="+", choices=list(deploy.BACKENDS), help="by default all installed"
    )
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--results", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    where = machine.describe()
    print(machine.line(where))
    backends = arguments.backends or deploy.installed()
    backends = list(dict.fromkeys(["eager", *backends]))
    budget = QUICK_SECONDS if arguments.quick else SECONDS
    rows = []
    for name in arguments.networks:
        for mode in MODES:
            found = measure(name, mode, backends, arguments.threads, budget)
            for batch in BATCHES:
                print_table(
                    f"{name}, {mode}, batch {batch}", COLUMNS, body([r for r in found if r["batch"] == batch])
                )
            rows += found
    if arguments.results:
        common = {"threads": arguments.threads, "machine": where}
        atomic.write(
            arguments.results, "".join(json.dumps({**row, **common}) + "\n" for row in rows).encode()
        )
    finish("backends", figures(rows))


if __name__ == "__main__":
    main()
