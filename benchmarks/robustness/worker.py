"""A worker process that tests inputs: ``robustness/worker.py PLAN SHARE OF BEGIN FOLDER``.

PLAN is a JSON file: the number of inputs of each family, and the folders of seeds and bait files. The process tests
every OF-th input, starting with number SHARE and skipping those before BEGIN. It writes the number of the current input
to FOLDER/at, so that the parent process knows which input crashed it, and appends each fault to FOLDER/faults.jsonl.
Faulty inputs are stored in the folder ``kept`` next to FOLDER.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import shutil
import struct
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if (
    __name__ == "__main__"
):  # a script's packages are searched in its folder; here they are in the folder above
    sys.path[0] = str(Path(__file__).parents[1])

MOST_MEMORY = 8 << 30
MOST_KEPT = 200
Job = tuple[str, int]


def jobs(plan: dict[str, Any]) -> Iterator[Job]:
    """All inputs in order: the families alternate, so that a run that is stopped has tested all of them."""
    left = {family: count for family, count in plan["families"].items() if count}
    done = dict.fromkeys(left, 0)
    step = 1000
    while left:
        for family in list(left):
            share = max(1, plan["families"][family] * step // max(plan["families"].values()))
            for number in range(done[family], min(done[family] + share, plan["families"][family])):
                yield family, number
            done[family] += share
            if done[family] >= plan["families"][family]:
                del left[family]


def check(family: str, number: int, folder: Path, seeds: Path, traps: Path) -> list[tuple[str, str]]:
    """Faults of the library on one input; its bytes are left in the folder."""
    from robustness import hostile_fields, hostile_inputs, hostile_networks, hostile_szd, large_files

    if family in hostile_inputs.FAMILIES:
        return hostile_inputs.check(family, number, folder, seeds / "report", traps)
    if family == "large":
        return large_files.check(number, folder)
    if family in ("meta", "pt"):
        name, data = hostile_networks.mutant(family, number, seeds / "networks", traps)
        commands = number % hostile_networks.COMMANDS_EVERY == 0
        return hostile_networks.check(name, data, folder, traps, commands=commands)
    if family == "fields":
        data = hostile_fields.mutant(number)
        (folder / "mutant.szf").write_bytes(data)
        return hostile_fields.check(data)
    data = hostile_szd.mutant(family, number)
    (folder / "mutant.szd").write_bytes(data)
    return hostile_szd.check(data, folder, all_functions=family == "szd-deep" or number % 4 == 0)


def keep(folder: Path, family: str, number: int) -> None:
    """Store the input."""
    kept = folder.parent / "kept"
    kept.mkdir(exist_ok=True)
    if len(list(kept.iterdir())) < MOST_KEPT:
        for path in folder.glob("mutant*"):
            shutil.copy(path, kept / f"{family}-{number}{path.suffix}")


def prepare(traps: Path, config: Path) -> None:
    """Set resource limits and environment variables, and change to the folder of bait files."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    os.environ |= {
        "XDG_CONFIG_HOME": str(config),
        "SZILARD_DATA": str(traps / "no-data"),
        "MPLBACKEND": "agg",
    }
    os.chdir(traps)
    import torch

    torch.set_num_threads(1)


def warm_up(folder: Path, seeds: Path, traps: Path) -> None:
    """Use everything once, so that late imports are not attributed to an input."""
    from robustness import field_seeds, hostile_fields, hostile_inputs, hostile_networks, hostile_szd

    for data in field_seeds.seed_files():
        hostile_fields.check(data)
    if not (seeds / "networks").exists():  # only fields are tested
        return
    for path in sorted((seeds / "networks").glob("*.szd"))[:2]:
        hostile_networks.check("warm.szd", path.read_bytes(), folder, traps, commands=True)
    hostile_networks.check(
        "warm.pt", next((seeds / "networks").glob("*.pt")).read_bytes(), folder, traps, commands=True
    )
    for data in hostile_szd.seed_files():
        hostile_szd.check(data, folder)
    for family in ("npz", "csv", "idx"):
        for number in range(5):
            hostile_inputs.check(family, number, folder, seeds / "report", traps)
    hostile_inputs.check_run(hostile_inputs.run_files(seeds / "report"), folder / "run", page=True)


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    share, of, begin = map(int, sys.argv[2:5])
    folder = Path(sys.argv[5])
    seeds, traps = Path(plan["seeds"]), Path(plan["bait"])
    prepare(traps, Path(plan["config"]))
    warm_up(folder, seeds, traps)
    with open(folder / "at", "r+b") as at, open(folder / "faults.jsonl", "a") as faults:
        place = mmap.mmap(at.fileno(), 8)
        for number, job in enumerate(jobs(plan)):
            if number % of != share or number < begin:
                continue
            place[:] = struct.pack("<q", number)
            found = check(*job, folder, seeds, traps)
            for key, text in found:
                faults.write(
                    json.dumps({"key": key, "family": job[0], "number": job[1], "text": text}) + "\n"
                )
            if found:
                faults.flush()
                keep(folder, *job)
        place[:] = struct.pack("<q", -2)


if __name__ == "__main__":
    main()
