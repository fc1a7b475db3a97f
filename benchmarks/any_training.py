"""Training on networks and tables of many kinds: are the reported results correct, or refused in one sentence?

    python benchmarks/any_training.py [--quick] [--results FILE.jsonl] [--only PART ...] [--names NAME ...]

* networks: those of :mod:`zoo.networks` and further types of targets (:mod:`zoo_training.lessons`), each trained by
  SSVI and by the dense deterministic method, in six stages (:mod:`zoo_training.training_cells`).
* tables: CSV files in many dialects, with common defects (:mod:`tables.table_files`), through the command line
  (:mod:`tables.table_cells`).
* sequence, adapter, unseen category, terminal: figures of :mod:`zoo_training.training_figures` and
  :mod:`tables.table_figures`; null, with a reason, if this version lacks a required feature.

A cell is *right* if an independent computation confirms the result, *refused* if a ``SzilardError`` of one sentence
gives the reason, otherwise *wrong* or *crashed*; *not reached* if an earlier stage has failed. ``--quick`` uses fewer
seeds for the figures; the cells are the same. Nothing is downloaded; all random numbers have fixed seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import cells, machine, processes
from common.harness import finish, print_table, progress
from szilard import atomic
from tables import table_cells, table_figures
from tables.table_files import TABLES
from zoo_training import training_cells, training_figures
from zoo_training.lessons import LESSONS
from zoo_training.training_cells import METHODS, STAGES
from zoo_training.verdicts import Cell, located

PARTS = ("networks", "tables", "sequence", "adapter", "unseen category", "terminal")
WORKERS = 2
SEEDS, MANY_SEEDS = 3, 6
MARKS = {"right": "✓", "refused": "refused", "wrong": "WRONG", "crashed": "CRASHED", "not reached": ""}
COLUMNS = ("name", "method", *STAGES)
FAULT_COLUMNS = ("cell", "verdict", "what")


# -- cells ----------------------------------------------------------------------------------------------


def of_network(name: str) -> list[dict[str, Any]]:
    return [cell.to_json() for cell in training_cells.cells(LESSONS[name])]


def of_table(name: str) -> list[dict[str, Any]]:
    return [cell.to_json() for cell in table_cells.cells(name)]


def died(name: str, sentence: str) -> list[dict[str, Any]]:
    return [Cell(name, METHODS[0], "prepare", "crashed", sentence).to_json()]


def label(cell: dict[str, Any]) -> str:
    return f"{cell['subject']}, {cell['method']}, {cell['stage']}"


# -- tables and figures ---------------------------------------------------------------------------------


def body(found: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each subject and method."""
    marks: dict[tuple[str, str], dict[str, str]] = {}
    for cell in found:
        mark = MARKS[cell["verdict"]]
        marks.setdefault((cell["subject"], cell["method"]), {})[cell["stage"]] = mark
    return [
        [name, method, *(row.get(stage, "") for stage in STAGES)] for (name, method), row in marks.items()
    ]


def reasons(found: list[dict[str, Any]]) -> list[list[str]]:
    return cells.reasons(found, label, lambda cell: without_paths(cell["message"]))


def faults(found: list[dict[str, Any]]) -> list[list[str]]:
    return [[label(cell), cell["verdict"], without_paths(cell["message"])] for cell in cells.faulty(found)]


def without_paths(sentence: str) -> str:
    """The sentence without the paths of temporary folders, which differ in every run."""
    return re.sub(r"(/[\w.-]+)+/(?=my table|new\.csv|reversed)", "", sentence)


def tried(section: dict[str, Any]) -> list[dict[str, Any]]:
    return [*section.get("networks", []), *section.get("tables", [])]


def figures(section: dict[str, Any]) -> dict[str, Any]:
    """The JSON keys; null if a part was not run, or if this version lacks a required feature."""
    found = tried(section)
    counted: dict[str, Any] = cells.counts(found) if found else dict.fromkeys(("cells", *cells.VERDICTS))
    densities = [
        cell["figure"] for cell in found if cell["stage"] == "prepare" and cell["figure"] is not None
    ]
    return {
        **counted,
        "not_reached": sum(cell["verdict"] == "not reached" for cell in found) if found else None,
        "networks": len({cell["subject"] for cell in section["networks"]}) if "networks" in section else None,
        "tables": len({cell["subject"] for cell in section["tables"]}) if "tables" in section else None,
        "density_error_max": max(densities, default=None),
        "sequence_ssvi90_minus_dense_pt": section.get("sequence", {}).get("minus"),
        "lora_step_vs_full": section.get("adapter", {}).get("ratio"),
        "unseen_category_doubt_rises": section.get("unseen category", {}).get("rises"),
        "tables_whole_at_80": section.get("terminal", {}).get("whole"),
    }


def missing(section: dict[str, Any], key: str) -> str:
    """Why a figure is null."""
    of = {
        "sequence_ssvi90_minus_dense_pt": "sequence",
        "lora_step_vs_full": "adapter",
        "unseen_category_doubt_rises": "unseen category",
        "tables_whole_at_80": "terminal",
    }
    found: str = section.get(of.get(key, ""), {}).get("why", "not run")
    return f"none: {without_paths(found)}"


def part(job: tuple[str, int]) -> dict[str, Any]:
    """One of the figures from a (name, number of seeds); after a crash, the error is the reason that it is missing."""
    name, seeds = job
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "sequence": lambda: training_figures.sequence(range(seeds)),
        "adapter": training_figures.adapter,
        "unseen category": lambda: table_figures.unseen_category(range(seeds)),
        "terminal": table_figures.whole,
    }
    try:
        return parts[name]()
    except Exception as error:
        return {"why": located(error)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer seeds; about 10 minutes on two idle cores"
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="write the results to this file; parts that are not run keep their last results",
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="only these networks and tables")
    parser.add_argument("--workers", type=int, default=WORKERS)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    where = machine.describe()
    print(machine.line(where))
    section: dict[str, Any] = {}
    if given.results and given.results.exists():
        section = json.loads(given.results.read_text().splitlines()[-1])
    section |= {"quick": given.quick, "machine": where}
    known = {"networks": (of_network, list(LESSONS)), "tables": (of_table, list(TABLES))}
    for name in given.only:
        started = time.monotonic()
        progress(name)
        if name in known:
            work, names = known[name]
            chosen = [one for one in names if not given.names or one in given.names]
            section[name] = cells.measure(work, chosen, given.workers, died=died, label=label)
        else:
            [(_, found)] = processes.results(part, [(name, SEEDS if given.quick else MANY_SEEDS)], 1)
            section[name] = {"why": "the process died"} if found is None else found
            progress(f"{name}: {section[name]}")
        section["seconds"] = section.get("seconds", {}) | {name: round(time.monotonic() - started, 1)}
        if given.results and not given.names:
            given.results.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(given.results, (json.dumps(section) + "\n").encode())
    for name in known:
        if section.get(name):
            print_table(name.capitalize(), COLUMNS, body(section[name]))
    if tried(section):
        print_table("Refused", cells.REASON_COLUMNS, reasons(tried(section)))
        for row in faults(tried(section)):
            print(f"{row[1]}: {row[0]}: {row[2]}")
    for name in PARTS[2:]:
        if name in section:
            print(f"{name}: {json.dumps(section[name])}")
    finish("any_training", figures(section))


if __name__ == "__main__":
    main()
