"""``compress`` on any network: what it reports is true, or it refuses in one sentence.

    python benchmarks/any_network.py [--quick] [--results FILE.jsonl] [--only PART ...] [--networks NAME ...]

* zoo: every network of :mod:`zoo.networks` under five wishes (:mod:`zoo_compression.compress_cells`): with data,
  without, ``max_drop``, ``max_bytes`` and ``shrink``. A cell is *right* if a computation of our own agrees with what
  was reported, *refused*, *wrong* or *crashed*.
* promise: whether a drop of one point is kept on fresh examples, and what that costs (:mod:`zoo_compression.promise`).
* trained: networks whose weights come in packages, beside rounding by row (:mod:`any_trained`); null without them.

Nothing is fetched; everything follows from fixed seeds.
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
from zoo_compression.compress_cells import WISHES

PARTS = ("zoo", "promise", "trained")
WORKERS = 2
MARKS = {"right": "right", "refused": "refused", "wrong": "WRONG", "crashed": "CRASHED"}
TRAINED_KEYS = (
    "minilm_vs_rounding", "minilm_no_data_vs_rounding", "resemblyzer_vs_rounding", "resemblyzer_no_data_vs_rounding",
    "silero_vs_rounding", "silero_no_data_vs_rounding", "minilm_peak_over_weights", "minilm_seconds",
)  # fmt: skip


# -- the zoo --------------------------------------------------------------------------------------------


def of_network(name: str, wishes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The cells of one network under some wishes, as JSON."""
    return [cell.to_json() for cell in compress_cells.cells(ZOO[name], wishes)]


def zoo(names: Sequence[str], wishes: Sequence[str], workers: int) -> list[dict[str, Any]]:
    """Every cell, in the order of the zoo."""

    def died(name: str, sentence: str) -> list[dict[str, Any]]:
        return [compress_cells.Cell(name, wish, "crashed", sentence).to_json() for wish in wishes]

    work = functools.partial(of_network, wishes=tuple(wishes))
    return cells.measure(work, names, workers, died=died, label=label)


def label(cell: dict[str, Any]) -> str:
    return f"{cell['network']}, {cell['wish']}"


# -- what is shown --------------------------------------------------------------------------------------


ZOO_COLUMNS = ("network", *WISHES)


def zoo_body(found: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each network: bytes where a file is right, else the verdict."""
    by_name: dict[str, dict[str, str]] = {}
    for cell in found:
        mark = MARKS[cell["verdict"]]
        if cell["verdict"] == "right" and cell["bytes"] is not None:
            mark = f"{cell['bytes']:,}"
        by_name.setdefault(cell["network"], {})[cell["wish"]] = mark
    return [[name, *(marks.get(wish, "") for wish in WISHES)] for name, marks in by_name.items()]


def reasons(found: list[dict[str, Any]]) -> list[list[str]]:
    return cells.reasons(found, label)


def figures(section: dict[str, Any]) -> dict[str, Any]:
    """The JSON keys; null where a part was not run or a package is missing."""
    of_zoo = section.get("zoo")
    found: dict[str, Any] = (
        dict.fromkeys(("cells", *cells.VERDICTS)) if of_zoo is None else cells.counts(of_zoo)
    )
    found |= promise.figures(section.get("promise"))
    return found | {key: (section.get("trained") or {}).get(key) for key in TRAINED_KEYS}


def trained(quick: bool) -> dict[str, Any]:
    """What :mod:`any_trained` finds."""
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
        progress("promises")
        section["promise"] = list(
            promise.measure(lambda work, jobs: processes.results(work, jobs, given.workers))
        )
    if "trained" in given.only:
        progress("trained networks")
        section["trained"] = trained(given.quick)
    section["seconds"] = section.get("seconds", {}) | {
        "+".join(given.only): round(time.monotonic() - begun, 1)
    }
    if given.results and not given.networks:
        atomic.write(given.results, (json.dumps(section) + "\n").encode())
    if "zoo" in section:
        print_table("The zoo; bytes where a file is right", ZOO_COLUMNS, zoo_body(section["zoo"]))
        print_table("Refused", cells.REASON_COLUMNS, reasons(section["zoo"]))
    for cell in cells.faulty(section.get("zoo", [])):
        print(f"{cell['verdict']}: {label(cell)}: {cell['told']}")
    if section.get("promise"):
        print_table("Promises", promise.COLUMNS, promise.body(section["promise"]))
    finish("any_network", figures(section))


if __name__ == "__main__":
    main()
