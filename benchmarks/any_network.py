"""``compress`` on networks of many kinds: are the reported figures correct, or refused in one sentence?

    python benchmarks/any_network.py [--quick] [--results FILE.jsonl] [--only PART ...] [--networks NAME ...]

* zoo: every network of :mod:`zoo.networks` with five requests (:mod:`zoo_compression.compress_cells`): with data,
  without data, ``max_drop``, ``max_bytes`` and ``shrink``. A cell is *right* if an independent computation confirms
  what was reported, otherwise *refused*, *wrong* or *crashed*.
* promise: whether a limit of one point holds on held-out examples, and how many bytes the guarantee costs
  (:mod:`zoo_compression.promise`).
* trained: networks whose weights come in packages, compared with rounding by row (:mod:`any_trained`); null if the
  packages are not installed.

Nothing is downloaded; all random numbers have fixed seeds.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import cells, machine, processes
from common.harness import finish, print_table, progress
from szilard import atomic
from zoo.networks import ZOO
from zoo_compression import compress_cells, promise
from zoo_compression.compress_cells import REQUESTS

PARTS = ("zoo", "promise", "trained")
WORKERS = 2
MARKS = {"right": "right", "refused": "refused", "wrong": "WRONG", "crashed": "CRASHED"}
TRAINED_KEYS = (
    "minilm_vs_rounding", "minilm_no_data_vs_rounding", "resemblyzer_vs_rounding", "resemblyzer_no_data_vs_rounding",
    "silero_vs_rounding", "silero_no_data_vs_rounding", "minilm_peak_over_weights", "minilm_seconds",
)  # fmt: skip


# -- the zoo --------------------------------------------------------------------------------------------


def of_network(name: str, requests: tuple[str, ...]) -> list[dict[str, Any]]:
    """The cells of one network for some requests, as JSON."""
    return [cell.to_json() for cell in compress_cells.cells(ZOO[name], requests)]


def zoo(names: Sequence[str], requests: Sequence[str], workers: int) -> list[dict[str, Any]]:
    """Every cell, in the order of the zoo."""

    def died(name: str, sentence: str) -> list[dict[str, Any]]:
        return [compress_cells.Cell(name, request, "crashed", sentence).to_json() for request in requests]

    work = functools.partial(of_network, requests=tuple(requests))
    return cells.measure(work, names, workers, died=died, label=label)


def label(cell: dict[str, Any]) -> str:
    return f"{cell['network']}, {cell['request']}"


# -- tables and figures ---------------------------------------------------------------------------------


ZOO_COLUMNS = ("network", *REQUESTS)


def zoo_body(found: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each network: bytes if the file is right, otherwise the verdict."""
    by_name: dict[str, dict[str, str]] = {}
    for cell in found:
        mark = MARKS[cell["verdict"]]
        if cell["verdict"] == "right" and cell["bytes"] is not None:
            mark = f"{cell['bytes']:,}"
        by_name.setdefault(cell["network"], {})[cell["request"]] = mark
    return [[name, *(marks.get(request, "") for request in REQUESTS)] for name, marks in by_name.items()]


def reasons(found: list[dict[str, Any]]) -> list[list[str]]:
    return cells.reasons(found, label)


def figures(section: dict[str, Any]) -> dict[str, Any]:
    """The JSON keys; null if a part was not run or a package is missing."""
    of_zoo = section.get("zoo")
    found: dict[str, Any] = (
        dict.fromkeys(("cells", *cells.VERDICTS)) if of_zoo is None else cells.counts(of_zoo)
    )
    found |= promise.figures(section.get("promise"))
    return found | {key: (section.get("trained") or {}).get(key) for key in TRAINED_KEYS}


def trained(quick: bool) -> dict[str, Any]:
    """The figures of :mod:`any_trained`; empty if it cannot be imported."""
    try:
        part = importlib.import_module("any_trained")
    except ImportError as error:
        progress(f"no trained networks: {error}")
        return {}
    found: dict[str, Any] = part.run(quick)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer splits and points; at most 15 minutes on two cores"
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="write the results to this file; parts that are not run keep their last results",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument(
        "--networks", nargs="+", choices=list(ZOO), metavar="NAME", help="only these networks of the zoo"
    )
    parser.add_argument("--requests", nargs="+", choices=REQUESTS, default=list(REQUESTS), metavar="REQUEST")
    parser.add_argument("--workers", type=int, default=WORKERS)
    given = parser.parse_args()
    where = machine.describe()
    print(machine.line(where))
    section: dict[str, Any] = {}
    if given.results and given.results.exists():
        section = json.loads(given.results.read_text().splitlines()[-1])
    section |= {"quick": given.quick, "machine": where}
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.monotonic()
    if "zoo" in given.only:
        section["zoo"] = zoo(given.networks or list(ZOO), given.requests, given.workers)
    if "promise" in given.only:
        progress("promises")
        section["promise"] = list(
            promise.measure(lambda work, jobs: processes.results(work, jobs, given.workers))
        )
    if "trained" in given.only:
        progress("trained networks")
        section["trained"] = trained(given.quick)
    section["seconds"] = section.get("seconds", {}) | {
        "+".join(given.only): round(time.monotonic() - started, 1)
    }
    if given.results and not given.networks:
        atomic.write(given.results, (json.dumps(section) + "\n").encode())
    if "zoo" in section:
        print_table("The zoo; bytes if the file is right", ZOO_COLUMNS, zoo_body(section["zoo"]))
        print_table("Refused", cells.REASON_COLUMNS, reasons(section["zoo"]))
    for cell in cells.faulty(section.get("zoo", [])):
        print(f"{cell['verdict']}: {label(cell)}: {cell['message']}")
    if section.get("promise"):
        print_table("Promises", promise.COLUMNS, promise.body(section["promise"]))
    finish("any_network", figures(section))


if __name__ == "__main__":
    main()
