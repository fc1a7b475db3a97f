"""``compress`` on any network: what it reports is true, or it refuses in one sentence.

    python benchmarks/any_network.py [--quick] [--results FILE.jsonl] [--only PART ...] [--networks NAME ...]

* zoo: every network of :mod:`any_zoo` under five wishes (:mod:`any_cells`): with data, without, ``max_drop``,
  ``max_bytes`` and ``shrink``. A cell is *right* if a computation of our own agrees with what was reported, *refused*,
  *wrong* or *crashed*.
* promise: whether a drop of one point is kept on fresh examples, and what that costs (:mod:`any_promise`).
* trained: networks whose weights come in packages, beside rounding by row (:mod:`any_trained`); null without them.

Nothing is fetched; everything follows from fixed seeds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import torch

import any_cells
import any_promise
import machine
from any_cells import WISHES
from any_zoo import ZOO
from harness import finish, print_table
from szilard import atomic

PARTS = ("zoo", "promise", "trained")
VERDICTS = ("right", "refused", "wrong", "crashed")
WORKERS = 2
MARKS = {"right": "right", "refused": "refused", "wrong": "WRONG", "crashed": "CRASHED"}
TRAINED_KEYS = (
    "minilm_vs_rounding", "minilm_no_data_vs_rounding", "resemblyzer_vs_rounding", "resemblyzer_no_data_vs_rounding",
    "silero_vs_rounding", "silero_no_data_vs_rounding", "minilm_peak_over_weights", "minilm_seconds",
)  # fmt: skip
Job = TypeVar("Job")


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


# -- work in processes of their own ---------------------------------------------------------------------


def alone() -> None:
    torch.set_num_threads(1)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - warnings of torch's own; it lives as long as the process


def shared(work: Callable[[Job], Any], jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Any]]:
    """Each job and its result, or None where it took its process with it."""
    context = multiprocessing.get_context("spawn")
    left = list(jobs)
    while left:
        with ProcessPoolExecutor(workers, context, alone) as pool:
            begun = {pool.submit(work, job): job for job in left}
            try:
                for done in as_completed(begun):
                    result = done.result()
                    left.remove(begun[done])
                    yield begun[done], result
            except BrokenProcessPool:
                tell("a process died; its job is found by trying one at a time")
        if left:
            yield from _one_by_one(work, left)
            return


def _one_by_one(work: Callable[[Job], Any], jobs: list[Job]) -> Iterator[tuple[Job, Any]]:
    for job in jobs:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), alone) as pool:
            try:
                yield job, pool.submit(work, job).result()
            except BrokenProcessPool:
                yield job, None


# -- the zoo --------------------------------------------------------------------------------------------


def all_cells(job: tuple[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Of one network and some wishes, as JSON."""
    name, wishes = job
    return [cell.to_json() for cell in any_cells.cells(ZOO[name], wishes)]


def zoo(names: Sequence[str], wishes: Sequence[str], workers: int) -> list[dict[str, Any]]:
    """Every cell, in the order of the zoo."""
    found: dict[str, list[dict[str, Any]]] = {}
    for (name, _), cells in shared(all_cells, [(name, tuple(wishes)) for name in names], workers):
        died = [any_cells.Cell(name, wish, "crashed", "the process died").to_json() for wish in wishes]
        found[name] = died if cells is None else cells
        for cell in found[name]:
            if cell["verdict"] in ("wrong", "crashed"):
                tell(f"{cell['verdict']}: {name}, {cell['wish']}: {cell['told']}")
        if len(found) % 10 == 0:
            tell(f"{len(found)} of {len(names)} networks")
    return [cell for name in names for cell in found[name]]


def kind_of(sentence: str) -> str:
    """A refusal without its figures and names."""
    return re.sub(r"\d[\d.,e+-]*", "#", sentence)[:110]


def counts(cells: list[dict[str, Any]]) -> dict[str, int]:
    verdicts = Counter(cell["verdict"] for cell in cells)
    return {"cells": len(cells), **{verdict: verdicts[verdict] for verdict in VERDICTS}}


# -- what is shown --------------------------------------------------------------------------------------


ZOO_COLUMNS = ("network", *WISHES)
REASON_COLUMNS = ("refused because", "cells", "for example")


def zoo_body(cells: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each network: bytes where a file is right, else the verdict."""
    by_name: dict[str, dict[str, str]] = {}
    for cell in cells:
        mark = MARKS[cell["verdict"]]
        if cell["verdict"] == "right" and cell["bytes"] is not None:
            mark = f"{cell['bytes']:,}"
        by_name.setdefault(cell["network"], {})[cell["wish"]] = mark
    return [[name, *(marks.get(wish, "") for wish in WISHES)] for name, marks in by_name.items()]


def reasons(cells: list[dict[str, Any]]) -> list[list[str]]:
    """Refusals by their sentence, the most frequent first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if cell["verdict"] == "refused":
            found.setdefault(kind_of(cell["told"]), []).append(cell)
    ordered = sorted(found.values(), key=lambda same: (-len(same), same[0]["told"]))
    return [[same[0]["told"], str(len(same)), f"{same[0]['network']}, {same[0]['wish']}"] for same in ordered]


def figures(section: dict[str, Any]) -> dict[str, Any]:
    """The JSON keys; null where a part was not run or a package is missing."""
    cells = section.get("zoo")
    found: dict[str, Any] = dict.fromkeys(("cells", *VERDICTS)) if cells is None else counts(cells)
    found |= any_promise.figures(section.get("promise"))
    return found | {key: (section.get("trained") or {}).get(key) for key in TRAINED_KEYS}


def trained(quick: bool) -> dict[str, Any]:
    """What :mod:`any_trained` finds."""
    try:
        part = importlib.import_module("any_trained")
    except ImportError as error:
        tell(f"no trained networks: {error}")
        return {}
    found: dict[str, Any] = part.run(quick)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer splits and points; within 15 minutes on two cores"
    )
    parser.add_argument(
        "--results", type=Path, help="keep the figures in this file, in place of the last ones"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument(
        "--networks", nargs="+", choices=list(ZOO), metavar="NAME", help="only these of the zoo"
    )
    parser.add_argument("--wishes", nargs="+", choices=WISHES, default=list(WISHES), metavar="WISH")
    parser.add_argument("--workers", type=int, default=WORKERS)
    given = parser.parse_args()
    where = machine.describe()
    print(machine.line(where))
    section: dict[str, Any] = {}
    if given.results and given.results.exists():
        section = json.loads(given.results.read_text().splitlines()[-1])
    section |= {"quick": given.quick, "machine": where}
    os.environ["OMP_NUM_THREADS"] = "1"
    begun = time.monotonic()
    if "zoo" in given.only:
        section["zoo"] = zoo(given.networks or list(ZOO), given.wishes, given.workers)
    if "promise" in given.only:
        tell("promises")
        section["promise"] = list(any_promise.measure(lambda work, jobs: shared(work, jobs, given.workers)))
    if "trained" in given.only:
        tell("trained networks")
        section["trained"] = trained(given.quick)
    section["seconds"] = section.get("seconds", {}) | {
        "+".join(given.only): round(time.monotonic() - begun, 1)
    }
    if given.results and not given.networks:
        atomic.write(given.results, (json.dumps(section) + "\n").encode())
    if "zoo" in section:
        print_table("The zoo; bytes where a file is right", ZOO_COLUMNS, zoo_body(section["zoo"]))
        print_table("Refused", REASON_COLUMNS, reasons(section["zoo"]))
    for cell in section.get("zoo", []):
        if cell["verdict"] in ("wrong", "crashed"):
            print(f"{cell['verdict']}: {cell['network']}, {cell['wish']}: {cell['told']}")
    if section.get("promise"):
        print_table("Promises", any_promise.COLUMNS, any_promise.body(section["promise"]))
    finish("any_network", figures(section))


if __name__ == "__main__":
    main()
