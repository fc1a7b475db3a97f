"""Inference on one input: layers and networks as native programs, beside dense float32 layers in torch.

    python benchmarks/one_input_kernels.py [--quick] [--results FILE.jsonl]

One example, one thread, all in turn. *torch* is the module with a full weight; *point* is a program of numbers and
*moments* one of means and variances with the same weights, which exist everywhere or at 5 % of the places. All times
include the call from Python. Layers after the first of a network get inputs with variances; here a layer's input is
made random by a channel-wise scaling step, whose time (well below a microsecond) is part of the figure.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common import machine
from common.harness import finish, print_table
from szilard import atomic
from szilard.cost.interleave import Timed, interleave
from szilard.kernels.inference import Compiled, Dense, Program, Sparse, Value
from szilard.sparse import Support

DENSITY = 0.05
SECONDS, QUICK_SECONDS = 6.0, 1.5  # budget of one row
TURN = 0.0005  # seconds: on a busy machine most turns are over before others interrupt them
Row = dict[str, Any]
Build = Callable[[Program, Value, float | None], Value]


@dataclass(frozen=True)
class Case:
    """Something to time: the module in torch, the input's shape, and the steps of the program."""

    name: str
    shape: tuple[int, ...]
    module: nn.Module
    build: Build


def weight(shape: Sequence[int], density: float | None) -> Dense | Sparse:
    """Random, with a variance; dense if ``density`` is None."""
    g = torch.Generator().manual_seed(0)
    scale = 1 / math.sqrt(math.prod(shape[1:]) * (density or 1.0))
    if density is None:
        return Dense(
            scale * torch.randn(tuple(shape), generator=g),
            0.1 * scale**2 * torch.rand(tuple(shape), generator=g),
        )
    support = Support.random(shape, round(density * math.prod(shape)), g)
    mean, variance = scale * torch.randn(support.nnz, generator=g), torch.rand(support.nnz, generator=g)
    return Sparse(mean, 0.1 * scale**2 * variance, support.crow, support.col, tuple(shape))


def randomised(program: Program, x: Value) -> Value:
    """The input with a variance in a program of moments, rectified: what a layer inside a network gets."""
    if not program.moments:
        return program.relu(x)
    channels, kernel = x.shape[0], (1,) * (len(x.shape) - 1)
    if not kernel:
        crow = torch.arange(channels + 1, dtype=torch.int32)
        ones = torch.ones(channels)
        return program.linear(x, Sparse(ones, 0.1 * ones, crow, crow[:-1], (channels, channels)), relu=True)
    ones = torch.ones(channels, 1, *kernel)
    return program.conv(x, Dense(ones, 0.1 * ones), groups=channels, relu=True)


def linear(rows: int, cols: int) -> Case:
    def build(program: Program, x: Value, density: float | None) -> Value:
        return program.linear(
            randomised(program, x), weight((rows, cols), density), torch.zeros(rows), relu=True
        )

    return Case(f"linear {cols} to {rows}", (cols,), nn.Sequential(nn.Linear(cols, rows), nn.ReLU()), build)


def conv(channels: int, out: int, kernel: int, side: int, padding: int, stride: int = 1) -> Case:
    def build(program: Program, x: Value, density: float | None) -> Value:
        w = weight((out, channels, kernel, kernel), density)
        x = randomised(program, x)
        return program.conv(x, w, torch.zeros(out), padding=padding, stride=stride, relu=True)

    module = nn.Sequential(nn.Conv2d(channels, out, kernel, stride, padding), nn.ReLU())
    name = f"conv {channels} to {out}, {kernel}x{kernel}" + (f" / {stride}" if stride > 1 else "")
    return Case(f"{name}, {side}x{side}", (channels, side, side), module, build)


def max_pool(channels: int, side: int) -> Case:
    def build(program: Program, x: Value, _: float | None) -> Value:
        return program.max_pool(randomised(program, x), 2)

    return Case(f"max-pool 2x2, {channels}x{side}x{side}", (channels, side, side), nn.MaxPool2d(2), build)


def mlp() -> Case:
    sizes = (784, 100, 100, 10)

    def build(program: Program, x: Value, density: float | None) -> Value:
        for k, (cols, rows) in enumerate(itertools.pairwise(sizes)):
            x = program.linear(x, weight((rows, cols), density), torch.zeros(rows), relu=k < 2)
        return x

    layers = [nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)]
    return Case("MLP 784-100-100-10", (784,), nn.Sequential(*layers), build)


def lenet() -> Case:
    def build(program: Program, x: Value, density: float | None) -> Value:
        x = program.conv(x, weight((6, 1, 5, 5), density), torch.zeros(6), padding=2)
        x = program.max_pool(x, 2, relu=True)
        x = program.conv(x, weight((16, 6, 5, 5), density), torch.zeros(16))
        x = program.max_pool(x, 2, relu=True)
        for k, (rows, cols) in enumerate(((120, 400), (84, 120), (10, 84))):
            x = program.linear(x, weight((rows, cols), density), torch.zeros(rows), relu=k < 2)
        return x

    module = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    return Case("LeNet-5", (1, 28, 28), module, build)


def resnet20() -> Case:
    """ResNet-20 for CIFAR-10 with BatchNorm folded into convolutions; shortcuts without weights."""
    widths = [(16, 1)] * 3 + [(32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)]

    def build(program: Program, x: Value, density: float | None) -> Value:
        x = program.conv(x, weight((16, 3, 3, 3), None), torch.zeros(16), padding=1, relu=True)
        for out, stride in widths:
            channels = x.shape[0]
            y = program.conv(
                x,
                weight((out, channels, 3, 3), density),
                torch.zeros(out),
                padding=1,
                stride=stride,
                relu=True,
            )
            y = program.conv(y, weight((out, out, 3, 3), density), torch.zeros(out), padding=1)
            shortcut = x if out == channels else program.channels(x, out, (out - channels) // 2, stride)
            x = program.add(y, shortcut, relu=True)
        return program.linear(program.global_average(x), weight((10, 64), None), torch.zeros(10))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 16, 3, padding=1)
            before = [16] + [out for out, _ in widths]
            self.convs = nn.ModuleList(
                nn.ModuleList([nn.Conv2d(c, out, 3, stride, 1), nn.Conv2d(out, out, 3, 1, 1)])
                for c, (out, stride) in zip(before, widths, strict=False)
            )
            self.last = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x).relu()
            for a, b in self.convs:  # type: ignore[misc]
                y = b(a(x).relu())
                if y.shape != x.shape:
                    more = (y.shape[1] - x.shape[1]) // 2
                    x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))
                x = (x + y).relu()
            return self.last(x.mean((2, 3)))

    return Case("ResNet-20", (3, 32, 32), Network(), build)


CASES = (
    lambda: linear(100, 784),
    lambda: linear(1024, 1024),
    lambda: conv(1, 6, 5, 28, 2),
    lambda: conv(6, 16, 5, 14, 0),
    lambda: conv(16, 16, 3, 32, 1),
    lambda: conv(32, 32, 3, 16, 1),
    lambda: conv(64, 64, 3, 8, 1),
    lambda: conv(32, 64, 3, 16, 1, 2),
    lambda: max_pool(6, 28),
    mlp,
    lenet,
    resnet20,
)


def compiled(case: Case, moments: bool, density: float | None) -> Compiled:
    program = Program(1, moments)
    return program.finish(case.build(program, program.input(case.shape), density))


def measure(case: Case, budget: float) -> Row:
    """Microseconds of each contestant."""
    x = torch.randn(1, *case.shape, generator=torch.Generator().manual_seed(1))
    module = case.module.eval()
    programs = {
        "point": compiled(case, False, None),
        "moments": compiled(case, True, None),
        "sparse point": compiled(case, False, DENSITY),
        "sparse moments": compiled(case, True, DENSITY),
    }
    with torch.inference_mode():
        runs = {"torch": Timed(lambda: module(x))}
        runs |= {name: Timed(lambda run=run: run(x)) for name, run in programs.items()}  # type: ignore[misc]
        found = interleave(runs, budget=budget, turn=TURN, most_rounds=2000)
    return {"case": case.name, **{name: 1e6 * summary.low for name, summary in found.items()}}


COLUMNS = ["layer or network", "torch", "point", "moments", "x point", "sparse point", "sparse moments"]


def cells(row: Row) -> list[str]:
    """One line of the table, under COLUMNS; microseconds."""
    times = [f"{row[name]:.1f}" for name in ("torch", "point", "moments")]
    ratio = f"{row['moments'] / row['point']:.1f}"
    return [row["case"], *times, ratio, *[f"{row[f'sparse {name}']:.1f}" for name in ("point", "moments")]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less time for each")
    parser.add_argument("--results", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    where = machine.describe()
    print(machine.line(where))
    rows = [measure(case(), QUICK_SECONDS if arguments.quick else SECONDS) for case in CASES]
    print_table("one input, µs (first quartile)", COLUMNS, [cells(row) for row in rows])
    if arguments.results:
        lines = [json.dumps({**row, "machine": where}) + "\n" for row in rows]
        atomic.write(arguments.results, "".join(lines).encode())
    finish(
        "one_input_kernels",
        {row["case"]: {k: round(v, 2) for k, v in row.items() if k != "case"} for row in rows},
    )


if __name__ == "__main__":
    main()
