"""Solvers for sparse codes, b = A x + noise: HyperLISTA and learned ones beside ISTA, FISTA, OMP and other libraries.

    python benchmarks/solve.py [--quick] [--device cpu|cuda] [--peers DIR] [--only PART] [--results FILE.json]

OMP is exact in this setting, and so is the lasso as λ falls; what unrolled solvers save is time. A is 250 x 500,
Gaussian with columns of unit norm; of a code one entry in ten is not zero, and those are Gaussian; no noise. Errors are
squared errors over squares in dB, of sums over the batch and of each sample; a sample is recovered if its own error is
below -40 dB. One process and one thread: torch, C++ and BLAS. Methods take turns; durations are seconds of the
processor (on a GPU, until it is idle), ratios are medians over turns, in a batch of 256 in float32. Drawing data is not
timed.

* weights: the analytic weight in float64: its diagonal, and how near ‖WᵀA‖ off the diagonal is to its lower bound.
* curves: errors and seconds by layer of every solver: tuned, trained, or with its best λ. ``hyperlista16_db``,
  ``alista16_db``, ``lista_cpss16_db``; ``without_momentum_loss_db`` and ``without_selection_loss_db`` with the other
  two numbers searched for again; ``layers_to_40db``.
* times: to -40 dB of the sums. HyperLISTA's numbers are tuned for a call of 8 layers, on other codes. FISTA, ISTA and
  continuation have the settings that need the fewest iterations on these very samples, and run in szilard's kernels, as
  HyperLISTA and OMP do; every method stops at the first layer below -40 dB. celer, skglm and scikit-learn solve a
  sample at a time, in float64, with the λ and tolerance that are soonest below -40 dB.
* shares: what HyperLISTA and FISTA spend on products, thresholds, selection and else.
* lasso: objectives of FISTA and continuation over the least that celer, skglm and scikit-learn find, relative; the
  worst sample.
* tail: the guard, in float64: what it certifies; ``cg_steps``, the most of a sample; ``false_accepts``, over densities
  from easy to hopeless: certified by the support with an error above -200 dB, or 10 dB above the noise.
* shifts: HyperLISTA's numbers on other densities, amplitudes and noise, against 16 iterations of FISTA with the λ that
  is best for these; a case is worse if either average is.
* matrices: the numbers on matrices of other shapes and kinds (``held_out_matrices_db``, the worst), and on measurements
  by a matrix that differs by 1 % (``perturbed_a_db``).
* events: products with 4096 atoms of which few are active, by their entries and dense.

A figure is that of the worst seed, ratios of time are medians over seeds. ``--quick``: one seed instead of three, fewer
samples, shorter training, and learned solvers only where a figure needs them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import threadpoolctl
import torch

from common import machine
from common.harness import finish, print_table, progress
from solving import (
    contestants,
    curves,
    events,
    lasso,
    libraries,
    other_tables,
    problems,
    solve_figures,
    solve_tables,
    tails,
    time_shares,
    timed,
    transfer,
    weights,
)
from solving.ablation import Numbers
from solving.timed import OURS
from szilard import atomic

PARTS = ("weights", "curves", "times", "shares", "lasso", "tail", "shifts", "matrices", "events")
Row = dict[str, Any]


def numbers_of(found: Row, seed: int, settings: problems.Settings) -> Numbers:
    """HyperLISTA's numbers of a seed: those of the curves, or new ones."""
    for row in found.get("curves", []):
        if (row["method"], row["seed"]) == (OURS, seed):
            first, second, third = row["c"]
            return first, second, third
    return contestants.tuned_hyperlista(problems.standard(settings, seed), seed)[1]


def penalty_of(found: Row) -> float:
    """FISTA's λ of the times, for the shares."""
    chosen = [row["setting"] for row in found.get("times", []) if row["method"] == "FISTA"]
    return float(chosen[0].removeprefix("λ = ")) if chosen else 0.005


def of_seed(part: str, found: Row, settings: problems.Settings, seed: int) -> list[Row]:
    """The rows of a part for a seed."""
    if part == "weights":
        return weights.measured(seed)
    if part == "lasso":
        return [] if set(libraries.LASSOS) <= set(libraries.missing()) else lasso.measured(seed)
    if part == "tail":
        return tails.measured(settings, seed, numbers_of(found, seed, settings))
    known = problems.standard(settings, seed)
    if part == "curves":
        return curves.measured(known, settings, seed)
    numbers = numbers_of(found, seed, settings)
    if part == "times":
        return timed.measured(known, settings, seed, numbers)
    return {"shifts": transfer.shifts, "matrices": transfer.matrices}[part](settings, seed, numbers)


def measured(part: str, found: Row, settings: problems.Settings) -> list[Row]:
    """The rows of a part."""
    if part == "events":
        return events.measured(settings)
    if part == "shares":
        numbers = numbers_of(found, settings.seeds[0], settings)
        known = problems.standard(settings, settings.seeds[0])
        return time_shares.measured(known, settings, numbers, penalty_of(found))
    rows: list[Row] = []
    for seed in settings.seeds:
        started = time.process_time()
        rows += of_seed(part, found, settings, seed)
        progress(f"{part}, seed {seed}: {time.process_time() - started:.0f} s")
    return rows


def tables(found: Row) -> None:
    """Print everything that was measured."""
    shown: tuple[tuple[str, Sequence[str], Callable[[Row], list[list[str]]]], ...] = (
        ("weights", other_tables.WEIGHT_COLUMNS, other_tables.weight_body),
        ("after 16 layers", solve_tables.CURVE_COLUMNS, solve_tables.curve_body),
        ("dB of the sums, by layer", solve_tables.LAYER_COLUMNS, solve_tables.layer_body),
        ("later layers", solve_tables.LATER_COLUMNS, solve_tables.later_body),
        (
            "to -40 dB, over HyperLISTA; OMP is exact here",
            solve_tables.RATIO_COLUMNS,
            solve_tables.ratio_body,
        ),
        ("to -40 dB", solve_tables.TIME_COLUMNS, solve_tables.time_body),
        ("shares of the time of 16 layers", solve_tables.SHARE_COLUMNS, solve_tables.share_body),
        ("objective over the least, relative", other_tables.LASSO_COLUMNS, other_tables.lasso_body),
        ("conjugate gradients and certificates", other_tables.TAIL_COLUMNS, other_tables.tail_body),
        ("other codes", other_tables.SHIFT_COLUMNS, other_tables.shift_body),
        ("other matrices", other_tables.MATRIX_COLUMNS, other_tables.matrix_body),
        ("event products", other_tables.EVENT_COLUMNS, other_tables.event_body),
        ("figures", solve_tables.FIGURE_COLUMNS, solve_tables.figure_body),
    )
    for title, columns, body in shown:
        if rows := body(found):
            print_table(title, columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of szilard's solvers")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only; repeatable")
    parser.add_argument(
        "--peers",
        type=Path,
        action="append",
        help="folder that holds celer or skglm, if not installed; repeatable",
    )
    parser.add_argument(
        "--results", type=Path, help="file for what was measured; parts not measured stay in it"
    )
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no GPU")
    sys.path += map(str, arguments.peers or [])
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)  # numpy's BLAS
    settings = (problems.QUICK if arguments.quick else problems.FULL).on(arguments.device)
    where = machine.describe()
    if arguments.device == "cuda":
        where["processor"] += f" and {torch.cuda.get_device_name()}"
    print(machine.line(where))
    path = arguments.results
    found: Row = json.loads(path.read_text()) if path and path.exists() else {"runs": {}}
    for part in [part for part in PARTS if part in (arguments.only or PARTS)]:
        started = time.time()
        found[part] = measured(part, found, settings)
        run = {"quick": arguments.quick, "device": arguments.device, "seconds": time.time() - started}
        found["runs"][part] = {**run, "machine": where, "peers": libraries.versions()}
        progress(f"{part}: {time.time() - started:.0f} s")
        if path:
            atomic.write(path, (json.dumps(found) + "\n").encode())
    tables(found)
    for line in solve_figures.missed(found):
        print(line)
    if absent := libraries.missing():
        print(f"not installed: {', '.join(absent)}, and figures against them are missing: {libraries.PIP}")
    finish("solve", solve_figures.figures(found))


if __name__ == "__main__":
    main()
