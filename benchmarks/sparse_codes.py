"""The operators of solvers for sparse codes compared with torch: a step's threshold, and the product with a dictionary.

    python benchmarks/sparse_codes.py [--quick]

float32; the C++ operators and torch alternate, and medians are compared. *threshold*: one step with momentum, where the
12 % of largest magnitudes pass, or none. *product*: codes of which a share of entries is not zero times a matrix n x m.
The even share, where event product and dense product take equal times, is interpolated between the measured shares.
"""

from __future__ import annotations

import argparse
from functools import partial
from itertools import pairwise

import torch

from common import machine
from common.harness import finish, print_table
from szilard.cost.interleave import Timed, interleave
from szilard.sparse import ops, portable

BATCH = 256
SHAPES = ((500, 250), (512, 64), (4096, 1024))
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SECONDS, QUICK_SECONDS = 3.0, 1.0  # time for one comparison

Row = tuple[str, float, float]  # what, seconds of Szilard, seconds of torch


def threshold(n: int, selecting: bool, budget: float) -> Row:
    """One step of ``shrink`` on ``[BATCH, n]``."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, n, generator=g) * (torch.rand(BATCH, n, generator=g) < 0.2)
    gradient, previous = 0.3 * torch.randn(BATCH, n, generator=g), x + 0.01
    scale, momentum = torch.rand(BATCH, generator=g) + 0.5, torch.rand(BATCH, generator=g)
    passing = torch.full((BATCH,), round(0.12 * n)) if selecting else None
    given = (x, gradient, scale, previous, momentum, torch.full((BATCH,), 0.2), passing)
    runs = {
        "ours": Timed(lambda: ops.shrink(*given)),
        "torch": Timed(lambda: portable.shrink(*given, wants_passed=False)),
    }
    found = interleave(runs, budget=budget, turn=0.005)
    what = f"threshold, n = {n}, {'12 % pass' if selecting else 'none passes'}"
    return what, found["ours"].median, found["torch"].median


def products(n: int, m: int, budget: float) -> tuple[list[Row], float]:
    """One row for each share; and the even share, or the largest measured one if the event product is always faster."""
    g = torch.Generator().manual_seed(0)
    rows, table = torch.randn(n, m, generator=g), []
    for share in SHARES:
        x = torch.randn(BATCH, n, generator=g) * (torch.rand(BATCH, n, generator=g) < share)
        runs = {
            "ours": Timed(partial(ops.event_product, x, rows)),
            "torch": Timed(partial(torch.matmul, x, rows)),
        }
        found = interleave(runs, budget=budget, turn=0.005)
        what = f"product, {n} x {m}, {100 * share:g} % not zero"
        table.append((what, found["ours"].median, found["torch"].median))
    ratios = [ours / dense for _, ours, dense in table]
    for (low, high), (before, after) in zip(pairwise(SHARES), pairwise(ratios), strict=True):
        if before < 1 <= after:
            return table, low + (high - low) * (1 - before) / (after - before)
    return table, SHARES[-1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less time for each comparison")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(machine.line(machine.describe()))
    budget = QUICK_SECONDS if arguments.quick else SECONDS
    rows = [threshold(n, selecting, budget) for n in (500, 4096) for selecting in (False, True)]
    figures = {"threshold_of_torch": round(max(ours / torch_ for _, ours, torch_ in rows), 3)}
    for n, m in SHAPES:
        found, even = products(n, m, budget)
        rows += found
        figures[f"even_share_{n}_{m}"] = round(even, 3)
    cells = [
        [what, f"{1e6 * ours:,.0f}", f"{1e6 * torch_:,.0f}", f"{ours / torch_:.3f}"]
        for what, ours, torch_ in rows
    ]
    print_table(
        f"batch {BATCH}, {arguments.threads} threads", ["operation", "µs", "torch µs", "ratio"], cells
    )
    finish("sparse_codes", figures)


if __name__ == "__main__":
    main()
