"""All mutated inputs, tested in worker processes that may crash, and the faults that were found."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common.harness import progress
from robustness import hostile_inputs, network_seeds, worker

DEEP = ("szd-deep", "meta", "pt", "large", "fields")
KEYS = ("wrong_exceptions", "crashes", "wrong_values", "peak_over_allowed", "slow", "code_run")
WORKERS = 2
HANG = 300.0  # seconds on one input, after which its process is killed
Fault = dict[str, Any]


def lay_out(folder: Path, families: dict[str, int]) -> Path:
    """Write the seed files, the bait files and the plan; return the plan's path."""
    network_seeds.lay_bait(folder / "bait")
    (folder / "seeds").mkdir()
    (folder / "config").mkdir()
    if set(families) == {"fields"}:
        return plan_of(folder, families)
    # The seeds come from another user: the process that opens them has a different key in its config folder.
    os.environ["XDG_CONFIG_HOME"] = str(folder / "other-user")
    network_seeds.make_seeds(folder / "seeds" / "networks")
    hostile_inputs.make_run(folder / "seeds" / "report")
    return plan_of(folder, families)


def plan_of(folder: Path, families: dict[str, int]) -> Path:
    """Write the plan; return its path."""
    plan = folder / "plan.json"
    places = {name: str(folder / name) for name in ("seeds", "bait", "config")}
    plan.write_text(json.dumps({"families": families, **places}))
    return plan


class Share:
    """One of the processes that test inputs; it is restarted after an input has killed it."""

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
        # Large blocks are returned to the system when they are freed, so that the resident size shows what a call uses.
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
        (self.folder / "at").write_bytes(struct.pack("<q", -1))
        arguments = [str(self.plan), str(self.number), str(WORKERS), str(begin), str(self.folder)]
        self.log = open(self.folder / "log", "ab")  # noqa: SIM115 - open for as long as the process runs
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "worker.py"), *arguments],
            env=environment, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        self.seen, self.since = -1, time.monotonic()

    @property
    def at(self) -> int:
        return struct.unpack("<q", (self.folder / "at").read_bytes())[0]

    def look(self) -> bool:
        """Whether the process is still running; restarts it after a crash."""
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
        key, what = ("slow", "not finished") if code is None else ("crashes", f"killed by signal {-code}")
        self.faults.append({"key": key, "family": family, "number": number, "text": what})
        worker.keep(self.folder, family, number)
        self.deaths += 1
        if self.deaths > 200:
            raise RuntimeError("too many crashes; the test stops")
        self.start(at + 1)
        return True

    def found(self) -> list[Fault]:
        path = self.folder / "faults.jsonl"  # the process creates it after its imports
        lines = path.read_text().splitlines() if path.exists() else []
        return self.faults + [json.loads(line) for line in lines]

    def counts(self) -> Counter[str]:
        """Number of tested inputs by family."""
        last = len(self.jobs) if self.at == -2 else max(self.at, 0)
        return Counter(family for family, _ in self.jobs[self.number : last : WORKERS])


def mutations(folder: Path, families: dict[str, int], seconds: float) -> dict[str, Any]:
    """Test all inputs with all readers.

    Args:
        seconds: time limit; later inputs are not tested.
    """
    plan = lay_out(folder, families)
    shares = [Share(plan, number) for number in range(WORKERS)]
    started, reported = time.monotonic(), 0.0
    while True:
        working = [share.look() for share in shares]  # a list, so that every process is checked
        if not any(working):
            break
        passed = time.monotonic() - started
        if passed > reported + 30:
            progress(f"input {max(share.at for share in shares)} of {len(shares[0].jobs)}")
            reported = passed
        if passed > seconds:
            progress("stopped: the time limit is reached")
            break
        time.sleep(0.05)
    counts: Counter[str] = Counter()
    faults: list[Fault] = []
    for share in shares:
        counts += share.counts()
        faults += share.found()
        share.process.kill()
        share.process.wait()
    # An input with the same fault in several readers counts once.
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
    """One example of each kind of fault, with its number of occurrences."""
    kinds: dict[tuple[str, str, str], Fault] = {}
    for fault in faults:
        text = "".join("#" if letter.isdigit() else letter for letter in fault["text"])[:60]
        first = kinds.setdefault((fault["key"], fault["family"], text), fault | {"times": 0})
        first["times"] += 1
    return sorted(kinds.values(), key=lambda fault: -fault["times"])[:40]
