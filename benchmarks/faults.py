"""What the documentation promises of hostile files, threads, kills and double starts, held under attack.

    python benchmarks/faults.py [--quick] [--results FILE.jsonl] [--keep FOLDER] [--only PART ...] [--seconds N]

Inputs are mutated by their structure, with hashes made right (``mutate``, ``hostile_networks``, ``hostile_inputs`` and
``large_files`` in :mod:`robustness`), and go through every door in processes of their own, of which one may die. The
parts are mutations, threads (:mod:`robustness.thread_checks`) and kills (:mod:`robustness.kills`). Everything follows
from fixed seeds: ``faults.py --replay szd-deep 137`` tries one input again in this process and prints what is wrong
with it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import machine
from common.harness import finish, print_table, progress
from robustness import hostile_inputs, hostile_networks, kills, large_files, thread_checks, worker
from szilard import atomic

QUICK = {
    "szd-deep": 18_000, "szd-shallow": 4_000, "meta": 2_400, "pt": 1_200, "npz": 600, "csv": 500, "idx": 500,
    "run": 250,
    "large": 44,
}  # fmt: skip
FULL = {
    "szd-deep": 640_000, "szd-shallow": 200_000, "meta": 90_000, "pt": 30_000, "npz": 15_000, "csv": 10_000,
    "idx": 12_000,
    "run": 3_000, "large": 44,
}  # fmt: skip
DEEP = ("szd-deep", "meta", "pt", "large")
KEYS = ("wrong_exceptions", "crashes", "wrong_values", "peak_over_allowed", "slow", "code_run")
WHAT = {
    "szd-deep": "records, tables, metadata and streams of .szd files",
    "szd-shallow": "bytes of .szd files",
    "meta": "metadata of saved networks (.szd)",
    "pt": "saved networks (.pt)",
    "npz": ".npz data",
    "csv": "tables",
    "idx": "idx pictures, gzipped or not",
    "run": "run folders",
    "large": "small .szd files that come out large",
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
OTHER_COLUMNS = ("what was tried", "what came of it")
PARTS = ("mutations", "threads", "kills")
WORKERS = 2
HANG = 300.0  # seconds on one input, after which its process is killed
CALLS = {True: 12, False: 60}  # of each thread, quick or not
KILLS = {True: 20, False: 60}
Fault = dict[str, Any]


# -- mutations ------------------------------------------------------------------------------------------


def lay_out(folder: Path, families: dict[str, int]) -> Path:
    """Seeds, bait and the plan."""
    hostile_networks.lay_bait(folder / "bait")
    (folder / "seeds").mkdir()
    (folder / "config").mkdir()
    # The seeds are of a stranger: whoever opens them has another key in the config folder.
    os.environ["XDG_CONFIG_HOME"] = str(folder / "stranger")
    hostile_networks.make_seeds(folder / "seeds" / "networks")
    hostile_inputs.make_run(folder / "seeds" / "report")
    plan = folder / "plan.json"
    places = {name: str(folder / name) for name in ("seeds", "bait", "config")}
    plan.write_text(json.dumps({"families": families, **places}))
    return plan


class Share:
    """One of the processes that try inputs, begun anew whenever an input kills it."""

    def __init__(self, plan: Path, number: int) -> None:
        self.plan, self.number = plan, number
        self.folder = plan.parent / f"share{number}"
        self.folder.mkdir()
        (self.folder / "at").write_bytes(struct.pack("<q", -1))
        self.jobs = list(worker.jobs(json.loads(plan.read_text())))
        self.faults: list[Fault] = []
        self.deaths = 0
        self.start(0)

    def start(self, begin: int) -> None:
        # Large blocks go back to the system when they are freed, so that the resident size says what a call takes.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
        (self.folder / "at").write_bytes(struct.pack("<q", -1))
        arguments = [str(self.plan), str(self.number), str(WORKERS), str(begin), str(self.folder)]
        self.log = open(self.folder / "log", "ab")  # noqa: SIM115 - it lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "robustness" / "worker.py"), *arguments],
            env=environment, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        self.seen, self.since = -1, time.monotonic()

    @property
    def at(self) -> int:
        return struct.unpack("<q", (self.folder / "at").read_bytes())[0]

    def look(self) -> bool:
        """Whether it still works; restarts it after a death."""
        code, at = self.process.poll(), self.at
        if at != self.seen:
            self.seen, self.since = at, time.monotonic()
        if code is None and time.monotonic() - self.since < HANG:
            return True
        if code == 0:
            return False
        if code is None:
            self.process.kill()
            self.process.wait()
        self.log.close()
        log = (self.folder / "log").read_text(errors="replace")[-400:]
        if at < 0:
            raise RuntimeError(f"a worker ended with {code} before its first input: {log}")
        family, number = self.jobs[at]
        if code is not None and code > 0:
            raise RuntimeError(f"the harness itself failed on {family} {number}: {log}")
        key, what = ("slow", "still not done") if code is None else ("crashes", f"killed by signal {-code}")
        self.faults.append({"key": key, "family": family, "number": number, "text": what})
        worker.keep(self.folder, family, number)
        self.deaths += 1
        if self.deaths > 200:
            raise RuntimeError("too many crashes to go on")
        self.start(at + 1)
        return True

    def found(self) -> list[Fault]:
        path = self.folder / "faults.jsonl"  # which the process makes when it has loaded everything
        lines = path.read_text().splitlines() if path.exists() else []
        return self.faults + [json.loads(line) for line in lines]

    def counts(self) -> Counter[str]:
        """Inputs of each family that were tried."""
        last = len(self.jobs) if self.at == -2 else max(self.at, 0)
        return Counter(family for family, _ in self.jobs[self.number : last : WORKERS])


def mutations(folder: Path, families: dict[str, int], seconds: float) -> dict[str, Any]:
    """All inputs through all doors.

    Args:
        seconds: after which no more are tried.
    """
    plan = lay_out(folder, families)
    shares = [Share(plan, number) for number in range(WORKERS)]
    begun, told = time.monotonic(), 0.0
    while True:
        working = [share.look() for share in shares]  # every one of them, so that none waits for another
        if not any(working):
            break
        passed = time.monotonic() - begun
        if passed > told + 30:
            progress(f"input {max(share.at for share in shares)} of {len(shares[0].jobs)}")
            told = passed
        if passed > seconds:
            progress("stopped: the time is over")
            break
        time.sleep(0.05)
    counts: Counter[str] = Counter()
    faults: list[Fault] = []
    for share in shares:
        counts += share.counts()
        faults += share.found()
        share.process.kill()
        share.process.wait()
    # An input that is wrong at several doors in one way counts once.
    distinct = {(fault["family"], fault["number"], fault["key"]) for fault in faults}
    rows = [
        {"family": family, "inputs": counts[family]}
        | {key: sum(1 for one, _, other in distinct if (one, other) == (family, key)) for key in KEYS}
        for family in families
    ]
    return {
        "mutations": sum(counts.values()),
        "deep_mutations": sum(counts[family] for family in DEEP),
        **{key: sum(row[key] for row in rows) for key in KEYS},
        "rows": rows,
        "examples": examples(faults),
    }


def examples(faults: list[Fault]) -> list[Fault]:
    """One of each kind of fault, with how often it was seen."""
    kinds: dict[tuple[str, str, str], Fault] = {}
    for fault in faults:
        text = "".join("#" if letter.isdigit() else letter for letter in fault["text"])[:60]
        first = kinds.setdefault((fault["key"], fault["family"], text), fault | {"times": 0})
        first["times"] += 1
    return sorted(kinds.values(), key=lambda fault: -fault["times"])[:40]


# -- what is shown --------------------------------------------------------------------------------------


def body(section: dict[str, Any]) -> list[list[str]]:
    """Rows of the table of mutations."""
    rows = [
        [WHAT[row["family"]], f"{row['inputs']:,}", *(str(row[key]) for key in KEYS)]
        for row in section["rows"]
    ]
    return [*rows, ["all", f"{section['mutations']:,}", *(str(section[key]) for key in KEYS)]]


def other_rows(section: dict[str, Any]) -> list[list[str]]:
    """What the other parts showed."""
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
                "a second fit on a running folder is refused and harms nothing",
                "yes" if section["double_start_safe"] else "no",
            ],
        ]
    return rows


def figures(section: dict[str, Any]) -> dict[str, Any]:
    names = ("mutations", "deep_mutations", *KEYS, "thread_calls", "thread_errors", "fit_kills", "compress_kills",
             "kill_resume_identical", "double_start_safe")  # fmt: skip
    return {name: section.get(name) for name in names}


def replay(family: str, number: int) -> None:
    """Try one input again, in this process, and say what is wrong."""
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
    parser.add_argument("--quick", action="store_true", help="27 000 inputs; within 10 minutes on two cores")
    parser.add_argument(
        "--results", type=Path, help="keep the figures in this file, in place of the last ones"
    )
    parser.add_argument("--keep", type=Path, help="copy faulty inputs to this folder")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--family", nargs="+", choices=list(WHAT), help="only these inputs")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for the mutations, at most")
    parser.add_argument("--replay", nargs=2, metavar=("FAMILY", "NUMBER"), help="try one input again")
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
    begun = time.monotonic()
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
    section["seconds"] = round(time.monotonic() - begun, 1)
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
        print_table("Inputs that were tried", COLUMNS, body(section))
    if other_rows(section):
        print_table("Threads and processes", OTHER_COLUMNS, other_rows(section))
    finish("faults", figures(section))


if __name__ == "__main__":
    main()
