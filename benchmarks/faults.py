"""Tests of the documented guarantees: hostile files, concurrent calls, killed processes, two runs in one folder.

    python benchmarks/faults.py [--quick] [--results FILE.jsonl] [--keep FOLDER] [--only PART ...] [--seconds N]

Inputs are mutated by their structure, with corrected hashes (``mutate``, ``hostile_networks``, ``hostile_inputs``,
``large_files`` and ``hostile_fields`` in :mod:`robustness`), and are given to every public function and command that
reads them, in worker processes that may crash. The parts are mutations, threads (:mod:`robustness.thread_checks`) and
kills (:mod:`robustness.kills`). All random numbers have fixed seeds: ``faults.py --replay szd-deep 137`` tests one
input again in this process and prints the faults.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from common import machine
from common.harness import finish, print_table, progress
from robustness import kills, large_files, thread_checks, worker
from robustness.mutation_run import KEYS, lay_out, mutations
from szilard import atomic

QUICK = {
    "szd-deep": 18_000, "szd-shallow": 4_000, "meta": 2_400, "pt": 1_200, "npz": 600, "csv": 500, "idx": 500,
    "run": 250,
    "large": 44, "fields": 4_000,
}  # fmt: skip
FULL = {
    "szd-deep": 640_000, "szd-shallow": 200_000, "meta": 90_000, "pt": 30_000, "npz": 15_000, "csv": 10_000,
    "idx": 12_000,
    "run": 3_000, "large": 44, "fields": 1_000_000,
}  # fmt: skip
WHAT = {
    "szd-deep": "records, tables, metadata and streams of .szd files",
    "szd-shallow": "bytes of .szd files",
    "meta": "metadata of saved networks (.szd)",
    "pt": "saved networks (.pt)",
    "npz": ".npz data",
    "csv": "tables",
    "idx": "IDX image files, gzipped or not",
    "run": "run folders",
    "large": "small .szd files that decode to large tensors",
    "fields": "streams of fields, decoded with kernels and without",
}
COLUMNS = (
    "inputs",
    "number",
    "wrong exceptions",
    "crashes",
    "wrong values",
    "too much memory",
    "slow",
    "code run",
)
OTHER_COLUMNS = ("test", "result")
PARTS = ("mutations", "threads", "kills")
CALLS = {True: 12, False: 60}  # of each thread, quick or not
KILLS = {True: 20, False: 60}


# -- tables and figures ---------------------------------------------------------------------------------


def body(section: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of mutations."""
    rows = [
        [WHAT[row["family"]], f"{row['inputs']:,}", *(str(row[key]) for key in KEYS)]
        for row in section["rows"]
    ]
    return [*rows, ["all", f"{section['mutations']:,}", *(str(section[key]) for key in KEYS)]]


def other_rows(section: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of the other parts."""
    rows = []
    if "thread_calls" in section:
        rows.append(
            [
                "predictions from 8 threads at once, wrong",
                f"{section['thread_errors']} of {section['thread_calls']:,}",
            ]
        )
    if "fit_kills" in section:
        same = "yes" if section["kill_resume_identical"] else "no"
        killed = f"{section['fit_kills']} of fit, {section['compress_kills']} of compress"
        rows += [
            ["SIGKILL at random moments", killed],
            ["resumed or repeated, the results are identical", same],
            [
                "a second fit in the same run folder is refused and changes nothing",
                "yes" if section["double_start_safe"] else "no",
            ],
        ]
    return rows


def figures(section: dict[str, Any]) -> dict[str, Any]:
    names = ("mutations", "deep_mutations", *KEYS, "thread_calls", "thread_errors", "fit_kills", "compress_kills",
             "kill_resume_identical", "double_start_safe")  # fmt: skip
    return {name: section.get(name) for name in names}


def replay(family: str, number: int) -> None:
    """Test one input again, in this process, and print its faults."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = json.loads(lay_out(folder, {family: number + 1}).read_text())
        worker.prepare(Path(plan["bait"]), Path(plan["config"]))
        worker.warm_up(folder, Path(plan["seeds"]), Path(plan["bait"]))
        for key, text in worker.check(family, number, folder, Path(plan["seeds"]), Path(plan["bait"])):
            print(f"{key}: {text}")
        for path in folder.glob("mutant*"):
            shutil.copy(path, f"{family}-{number}{path.suffix}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="31 000 inputs; at most 10 minutes on two cores")
    parser.add_argument(
        "--results", type=Path, help="write the results to this file, replacing the last ones"
    )
    parser.add_argument("--keep", type=Path, help="copy faulty inputs to this folder")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--family", nargs="+", choices=list(WHAT), help="only these kinds of input")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time limit for the mutations")
    parser.add_argument("--replay", nargs=2, metavar=("FAMILY", "NUMBER"), help="test one input again")
    given = parser.parse_args()
    if given.replay:
        replay(given.replay[0], int(given.replay[1]))
        return
    where = machine.describe()
    print(machine.line(where))
    families = {
        name: count
        for name, count in (QUICK if given.quick else FULL).items()
        if name in (given.family or WHAT)
    }
    assert QUICK["large"] == len(large_files.cases())
    section: dict[str, Any] = {"quick": given.quick, "machine": where}
    started = time.monotonic()
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as name:
        if "kills" in given.only:
            progress("kills")
            (Path(name) / "kills").mkdir()
            section |= kills.measure(Path(name) / "kills", KILLS[given.quick])
        if "threads" in given.only:
            progress("threads")
            section |= thread_checks.measure(CALLS[given.quick])
        if "mutations" in given.only:
            progress("mutations")
            section |= mutations(Path(name), families, given.seconds)
            if given.keep and (Path(name) / "kept").exists():
                shutil.copytree(Path(name) / "kept", given.keep, dirs_exist_ok=True)
    section["seconds"] = round(time.monotonic() - started, 1)
    for fault in section.get("examples", []):
        print(
            f"{fault['key']}: {fault['family']} {fault['number']} ({fault['times']} times): {fault['text']}"
        )
    for problem in (
        *section.get("fit_problems", ()),
        *section.get("compress_problems", ()),
        *section.get("double_problems", ()),
    ):
        print(f"problem: {problem}")
    if given.results:
        atomic.write(given.results, (json.dumps(section) + "\n").encode())
    if "rows" in section:
        print_table("Tested inputs", COLUMNS, body(section))
    if other_rows(section):
        print_table("Threads and processes", OTHER_COLUMNS, other_rows(section))
    finish("faults", figures(section))


if __name__ == "__main__":
    main()
