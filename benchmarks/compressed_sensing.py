"""Photographs from compressed measurements of their patches: unrolled solvers beside FISTA and total variation.

    python benchmarks/compressed_sensing.py --data-root DATA [--peers DIR] [--quick] [--seeds N] [--steps N]
                                            [--device cuda] [--only PART] [--results FILE.json]

DATA holds kodak/kodim*.png, of which the first eight train and the next four are judged; scikit-learn's two photographs
are judged, too. Pictures are luma. pylops and sporco are installed, or in a folder that ``--peers`` names; without them
their figures are null.

* What is measured: b = Φ r + noise of patches r of 16 × 16 pixels without their mean, Φ Gaussian with columns of norm 1
  on average, the same for every method; the mean is sent beside b. 10, 25 and 50 % of the pixels; without noise, and
  with noise of 5/255. Patches do not overlap, for no method.
* FISTA codes a patch in cosines or in a dictionary of 512 atoms, learnt on the training pictures. λ and iterations are
  chosen on training patches, for each ratio, noise and seed: λ of the best PSNR at any of 15 to 400 iterations, and
  the fewest of these that come within 0.05 dB of it.
* LISTA, LISTA-CPSS and ALISTA, 6 layers, start with the same dictionary and are trained on random patches of the
  training pictures; their last product, the dictionary that makes the patch, is trained with them.
* HyperLISTA: its three numbers are searched on synthetic codes of the density of FISTA's, alone and with its guard.
  ``fallback_share`` and ``uncertified_returned`` are over all cells.
* Total variation takes the same measurements; its gradient runs over the whole picture. Its weight is chosen on
  training pictures.
* Seconds are of a processor, in one thread, for a Kodak picture; methods take turns.
* denoise: noise of 20/255 on the Kodak pictures, by convolutional dictionaries (:mod:`sensing.denoising`); seconds are
  of the wall. ``conv_alista_minus_fista_db``: FISTA has as many iterations as fit in ALISTA's time.

``--quick``: 25 % alone, one seed, and a fifth of the steps of training.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from common import machine, processes
from common.harness import finish, print_table, progress
from sensing import contest, denoising, dictionary, sensing_figures, variation
from sensing.measuring import NOISE, RATIOS, Cell
from sensing.photographs import kodak
from szilard import atomic

SEEDS, QUICK_SEEDS = 3, 1
STEPS, QUICK_STEPS = 3000, 600
DICTIONARY_STEPS, QUICK_DICTIONARY_STEPS = 400, 150
QUICK_RATIOS = (25,)
DENOISING_STEPS, QUICK_DENOISING_STEPS = 500, 150
PARTS = ("cells", "denoise")
Row = dict[str, Any]


def cells(ratios: Sequence[int], seeds: int) -> list[Cell]:
    """What is measured, the cells of the gates first."""
    order = sorted(ratios, key=lambda ratio: ratio != 25)
    return [Cell(ratio, noise, seed) for seed in range(seeds) for ratio in order for noise in (0.0, NOISE)]


def work(root: Path, steps: int, device: str, folder: Path, cell: Cell) -> Row:
    """The row of a cell, with the seconds that it took."""
    torch.set_num_threads(1)
    started = time.process_time()
    row = contest.measured(root, torch.load(folder / "dictionary.pt", weights_only=True), cell, steps, device)
    return {**row, "seconds": time.process_time() - started}


def denoised(root: Path, steps: int, seed: int) -> Row:
    """The row of denoising with a seed."""
    torch.set_num_threads(1)
    training, judged = ([picture.luma for picture in pictures] for pictures in kodak(root))
    started = time.process_time()
    row = denoising.denoising(training, judged, seed, steps)
    return {**row, "seed": seed, "steps": steps, "seconds": time.process_time() - started}


def measured_cells(found: Row, arguments: argparse.Namespace, save: Callable[[], None]) -> None:
    """Put a row for each cell into the results, and atoms of the dictionary."""
    quick, started = arguments.quick, time.time()
    steps = arguments.steps or (QUICK_STEPS if quick else STEPS)
    wanted = cells(arguments.ratio or (QUICK_RATIOS if quick else RATIOS), arguments.seeds)
    keys = {(cell.ratio, cell.noise, cell.seed) for cell in wanted}
    found["rows"] = [
        row for row in found["rows"] if (row["ratio"], row["noise"], row["seed"]) not in keys
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        D = dictionary.learned(
            kodak(arguments.data_root)[0], QUICK_DICTIONARY_STEPS if quick else DICTIONARY_STEPS
        )
        torch.save(D, folder / "dictionary.pt")
        progress(f"the dictionary is learnt, {time.time() - started:.0f} s")
        found["atoms"] = contest.packed(0.5 + D[:, : contest.SHOWN_ATOMS].t() / (2 * D.abs().max()))
        do = functools.partial(work, arguments.data_root, steps, arguments.device, folder)
        for cell, row in processes.results(do, wanted, 1 if arguments.device == "cuda" else 2):
            if row is None:
                raise SystemExit(f"the process of {cell} died")
            found["rows"].append(row)
            progress(f"{cell}: {row['seconds']:.0f} s")
            save()


def measured_denoising(found: Row, arguments: argparse.Namespace, save: Callable[[], None]) -> None:
    """Put a row of denoising for each seed into the results."""
    do = functools.partial(
        denoised, arguments.data_root, QUICK_DENOISING_STEPS if arguments.quick else DENOISING_STEPS
    )
    found["denoised"] = []
    for seed, row in processes.results(do, range(arguments.seeds), 2):
        if row is None:
            raise SystemExit(f"the process that denoises with seed {seed} died")
        found["denoised"].append(row)
        progress(f"denoising with seed {seed}: {row['seconds']:.0f} s")
        save()


def tables(found: Row) -> None:
    """Print everything that was measured."""
    for ratio in RATIOS:
        for noisy in (False, True):
            words = f"{ratio} %, {sensing_figures.noise_words(noisy)}"
            if body := sensing_figures.body(found["rows"], ratio, noisy):
                print_table(words, sensing_figures.COLUMNS, body)
                print_table(
                    f"{words}: FISTA with the learned dictionary on training patches, PSNR in dB",
                    sensing_figures.CHOICE_COLUMNS,
                    sensing_figures.choice_body(found["rows"], ratio, noisy),
                )
    if body := sensing_figures.denoising_body(found["denoised"]):
        print_table("denoising, noise 20/255", sensing_figures.DENOISING_COLUMNS, body)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--peers", type=Path, help="folder that holds pylops and sporco, if they are not installed"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only; repeatable")
    parser.add_argument("--seeds", type=int, help=f"{SEEDS}, or {QUICK_SEEDS} with --quick")
    parser.add_argument("--steps", type=int, help=f"of training; {STEPS}, or {QUICK_STEPS} with --quick")
    parser.add_argument("--ratio", type=int, choices=RATIOS, action="append", help="this only; repeatable")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--results", type=Path, help="file for what was measured; other cells stay in it")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
    torch.set_num_threads(1)
    if arguments.peers:
        sys.path.append(str(arguments.peers))  # spawned processes get it, too
    arguments.seeds = arguments.seeds or (QUICK_SEEDS if arguments.quick else SEEDS)
    where, path = machine.describe(), arguments.results
    print(machine.line(where))
    found: Row = json.loads(path.read_text()) if path and path.exists() else {}
    found = {"rows": [], "denoised": [], "runs": {}, **found}
    for part, measured in zip(PARTS, (measured_cells, measured_denoising), strict=True):
        if part in (arguments.only or PARTS):
            started = time.time()

            def save(part: str = part, started: float = started) -> None:
                run = {"quick": arguments.quick, "seconds": time.time() - started, "machine": where}
                found["runs"][part] = run
                if path:
                    atomic.write(path, (json.dumps(found) + "\n").encode())

            measured(found, arguments, save)
    tables(found)
    print(sensing_figures.reading(found["rows"]))
    figures = sensing_figures.figures(found["rows"], found["denoised"])
    for line in sensing_figures.missed(figures):
        print(line)
    if not variation.installed():
        print(f"pylops is not installed, and its figures are null: {variation.PIP}")
    for line in dict.fromkeys(row["sporco_install"] for row in found["denoised"] if "sporco_install" in row):
        print(f"sporco is not installed, and its figures are null: {line}")
    finish("compressed_sensing", figures)


if __name__ == "__main__":
    main()
