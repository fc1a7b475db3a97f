"""Each sparse kernel compared with its dense counterpart in torch, and with the machine's roofline.

    python benchmarks/kernels.py [--quick] [--results FILE.jsonl]

Batch 128, float32, operators called as a layer calls them (activations in the layout that the operators return).
*dense* is the same function with a full weight in torch: one product, or two products and noise for local
reparametrisation (LRT); *plain* is the product of the deterministic layer. The fraction of the roofline is the lower
bound of the time from the kernel's FLOPs and bytes (:mod:`common.roofline`) divided by its median time. FLOPs and
bytes, counting every array once, are listed at :func:`common.kernel_work.work`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import szilard.sparse.ops  # noqa: F401  (declares the operators)
from common import machine
from common.harness import finish, print_table
from common.kernel_work import BATCH, KINDS, SHAPES, Shape, work
from common.roofline import Roof
from szilard import atomic
from szilard.cost.interleave import Timed, interleave
from szilard.sparse import Support

DENSITIES = (0.10, 0.05, 0.02)
TINY = 1e-8
SECONDS, QUICK_SECONDS = 4.0, 1.5  # time for one kernel at one shape, all densities

Run = Callable[[], object]


# -- the kernels ----------------------------------------------------------------------------------------


def operator(name: str, given: dict[str, Any]) -> Run:
    """One of Szilard's operators; its arguments are looked up in ``given`` by name."""
    chosen = getattr(torch.ops.szilard, name).default
    return partial(chosen, *[given[argument.name] for argument in chosen._schema.arguments])


def sparse_kernels(shape: Shape, density: float) -> dict[str, Run]:
    """The kernels by kind, on a random support."""
    g = torch.Generator().manual_seed(0)
    support = Support.random(shape.weight, round(density * math.prod(shape.weight)), g)
    name = "conv" if shape.is_conv else "linear"
    given: dict[str, Any] = {
        "x": torch.randn(shape.x_shape, generator=g),
        "values": torch.randn(support.nnz, generator=g),
        "mean": torch.randn(support.nnz, generator=g),
        "log_std": torch.randn(support.nnz, generator=g) - 2,
        "key": torch.tensor([1, 2]),
        "bias": None,
        "relu": False,
        "shape": list(shape.weight),
        "stride": [1, 1],
        "padding": [1, 1],
        "dilation": [1, 1],
        "groups": 1,
        "wants_x": True,
        **support.index._asdict(),
    }
    y = operator(f"sparse_{name}", given)()
    assert isinstance(y, Tensor)
    given |= {key: like(value, y) for key, value in given.items() if key == "x"}
    given["grad"] = like(torch.randn(shape.y_shape, generator=g), y)
    outputs: Any = operator(f"lrt_{name}", given)()
    given |= dict(zip(("y", "factor", "variance"), outputs, strict=True))
    names = (f"sparse_{name}", f"sparse_{name}_backward", f"lrt_{name}", f"lrt_{name}_backward")
    return {kind: operator(name, given) for kind, name in zip(KINDS, names, strict=True)}


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """The same values in the memory layout of ``other``, the layout that a layer passes to the next one."""
    order = other.dim_order()
    return tensor.permute(order).contiguous().permute([order.index(d) for d in range(len(order))])


def dense_kernels(shape: Shape) -> dict[str, Run]:
    """The same four functions with a full weight in plain torch, with explicit gradients."""
    g = torch.Generator().manual_seed(0)
    x, grad = torch.randn(shape.x_shape, generator=g), torch.randn(shape.y_shape, generator=g)
    mean, log_std = torch.randn(shape.weight, generator=g), torch.randn(shape.weight, generator=g) - 2

    def product(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w, padding=1) if shape.is_conv else x @ w.t()

    def backward(grad: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        if not shape.is_conv:
            return grad @ w, grad.t() @ x
        how: Any = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False])
        return torch.ops.aten.convolution_backward(grad, x, w, *how)[:2]

    def lrt() -> tuple[Tensor, Tensor, Tensor]:
        variance = (2 * log_std).exp()
        std = product(x.square(), variance).add_(TINY).sqrt_()
        noise = torch.randn(shape.y_shape)
        return product(x, mean).addcmul_(std, noise), noise.div_(2 * std), variance

    _, factor, variance = lrt()

    def lrt_backward() -> tuple[Tensor, Tensor, Tensor]:
        grad_x, grad_mean = backward(grad, x, mean)
        half, grad_variance = backward(grad * factor, x.square(), variance)
        return grad_x.addcmul_(x, half, value=2), grad_mean, grad_variance.mul_(variance).mul_(2)

    runs: tuple[Run, ...] = (
        lambda: product(x, mean),
        lambda: backward(grad, x, mean),
        lrt,
        lrt_backward,
    )
    return dict(zip(KINDS, runs, strict=True))


# -- measuring ------------------------------------------------------------------------------------------


Row = dict[str, Any]


def measure(shape: Shape, roof: Roof, densities: Sequence[float], budget: float) -> list[Row]:
    """One row for each kernel and density at one shape."""
    dense = dense_kernels(shape)
    sparse = {density: sparse_kernels(shape, density) for density in densities}
    rows = []
    for kind in KINDS:
        plain = kind.replace("LRT", "product")
        runs = {"dense": Timed(dense[kind]), "plain": Timed(dense[plain])}
        runs |= {f"{density:g}": Timed(sparse[density][kind]) for density in densities}
        found = interleave(runs, budget=budget, turn=0.005)
        for density in densities:
            seconds = found[f"{density:g}"].median
            nnz = round(density * math.prod(shape.weight))
            asked = work(kind, shape, nnz)
            rows.append(
                {
                    "shape": shape.name,
                    "kernel": kind,
                    "density": density,
                    "seconds": seconds,
                    "flops": asked.flops,
                    "bytes": asked.moved,
                    "over_dense": found["dense"].median / seconds,
                    "over_plain": found["plain"].median / seconds,
                    "of_roof": roof.seconds(asked.flops, asked.moved) / seconds,
                }
            )
    return rows


COLUMNS = ["layer", "kernel", "density %", "µs", "GFLOP/s", "x dense", "x plain", "of the roof"]


def body(rows: Iterable[Row]) -> list[list[str]]:
    """The table's cells, under COLUMNS."""
    return [
        [
            row["shape"],
            row["kernel"],
            f"{100 * row['density']:g}",
            f"{1e6 * row['seconds']:,.0f}",
            f"{row['flops'] / row['seconds'] / 1e9:.1f}",
            f"{row['over_dense']:.1f}",
            f"{row['over_plain']:.1f}",
            f"{row['of_roof']:.2f}",
        ]
        for row in rows
    ]


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """The JSON keys: at 95 % sparsity, the geometric mean over layers of a kind, by kernel; and the slowest row."""
    found: dict[str, float] = {}
    for layer in ("linear", "conv"):
        for kind in KINDS:
            chosen = [
                r
                for r in rows
                if r["shape"].startswith(layer) and r["kernel"] == kind and r["density"] == 0.05
            ]
            if chosen:
                key = f"{layer}_{kind.replace(' ', '_').lower()}_95"
                found[f"{key}_over_dense"] = geometric_mean(r["over_dense"] for r in chosen)
                found[f"{key}_of_roof"] = geometric_mean(r["of_roof"] for r in chosen)
    found["least_over_dense"] = min(row["over_dense"] for row in rows)
    return {name: round(value, 4) for name, value in found.items()}


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less time for each kernel")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    where = machine.describe()
    print(machine.line(where))
    roof = Roof.measure()
    print(
        f"roof: {roof.flops / 1e9:.0f} GFLOP/s, {roof.bandwidth / 1e9:.1f} GB/s, {arguments.threads} threads"
    )
    budget = QUICK_SECONDS if arguments.quick else SECONDS
    rows = []
    for shape in SHAPES:
        found = measure(shape, roof, DENSITIES, budget)
        print_table(f"{shape.name}, batch {BATCH}", COLUMNS, body(found))
        rows += found
    if arguments.results:
        common = {"threads": arguments.threads, "roof": vars(roof), "machine": where}
        lines = [json.dumps({**row, **common}) + "\n" for row in rows]
        atomic.write(arguments.results, "".join(lines).encode())
    finish(
        "kernels",
        {
            **figures(rows),
            "peak_gflops": round(roof.flops / 1e9, 1),
            "bandwidth_gbytes": round(roof.bandwidth / 1e9, 1),
        },
    )


if __name__ == "__main__":
    main()
