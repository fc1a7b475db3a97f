"""Fields of climate with a hard bound on every error, beside SZ3, SPERR, ZFP and BitRound.

    python benchmarks/field.py --data-root DATA [--peers DIR] [--quick] [--only PART] [--keep-anchors]
                               [--results FILE.json]

DATA holds climate/eraint_uvz.nc and climate/era5_levels_members.nc. pysz and imagecodecs are installed
(``make bench-peers``), or are in a folder that ``--peers`` names. Bytes are those of a zarr store of one array,
metadata included; ratios divide those of float32. Seconds are of a processor, in one thread.

* peers: every peer on every cell (a variable and a bound), with each algorithm and in each layout: slices, stacks of
  some or all leading axes in every order, four dimensions for SZ3 and ZFP. Tolerances are lowered until the bound is
  kept.
* cells: our codec, fitted to each cell. ``ratio_vs_best``: geometric mean of the bytes of the best peer over ours, on
  ERA-Interim; ``wind_worst`` and ``z_worst``: the worst cell; ``z_beside``: a loose bound, which is no part of the
  mean; ``wind_vs_bitround_worst``: BitRound's bytes over ours, on winds at 1e-2 and 1e-3; ``ratio_vs_best_era5``.
* fit_once: the second month with weights of the first, against its own weights; the worst cell.
* decoders: the streams of all cells by numpy and by each instruction set with 1, 2 and 8 threads.
* promises: generated arrays of any shape, type, value and bound, with weights of any size; a judge that is exact counts
  values beyond the bound (``bound_violations``; those of cells and fit_once are counted, too).
* speed: a fitted codec on a wind and on noise; the slower one counts. ``cell_encode_mb_per_s`` and
  ``cell_decode_mb_per_s`` are of the slowest cell, measured once.
* memory: stores of 2 and 8 GB that are made chunk by chunk; ``peak_growth_percent`` is the larger over the smaller.

``--quick``: 1,000 generated arrays instead of 100,000, stores of 200 and 400 MB, fewer repeats.
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

from climate import (
    contest,
    decoders,
    field_figures,
    field_tables,
    fields,
    fit_once,
    memory,
    ours,
    peers,
    promises,
    speed,
)
from common import machine, processes
from common.harness import finish, print_table, progress
from szilard import atomic

PARTS = ("peers", "cells", "fit_once", "decoders", "promises", "speed", "memory")
ARRAYS, QUICK_ARRAYS = 100_000, 1_000
WORKERS = 2
Row = dict[str, Any]


def jobs(part: str, quick: bool) -> list[Row]:
    """What the processes of a part measure."""
    if part in ("peers", "cells"):
        return [{"part": part, "cell": name} for name in fields.BY_NAME]
    if part == "fit_once":
        return [{"part": part, "variable": name, "share": share}
                for name in fit_once.VARIABLES for share in fit_once.SHARES]  # fmt: skip
    count = QUICK_ARRAYS if quick else ARRAYS
    return [{"part": part, "first": first} for first in range(0, count, promises.BATCH)]


def work(root: Path, effort: float, job: str) -> Row:
    """The row of a job, which is JSON; with the seconds that it took."""
    given = json.loads(job)
    started = time.process_time()
    if given["part"] == "peers":
        found = contest.measured(root, given["cell"])
    elif given["part"] == "cells":
        found = ours.measured(root, given["cell"], effort)
    elif given["part"] == "fit_once":
        found = fit_once.measured(root, given["variable"], given["share"], effort)
    else:
        found = promises.measured(given["first"], promises.BATCH)
    return {**found, "seconds": time.process_time() - started}


def in_processes(root: Path, effort: float, wanted: Sequence[Row]) -> list[Row]:
    """The rows of jobs, in their order.

    Raises:
        RuntimeError: a process died.
    """
    done: dict[str, Row] = {}
    names = [json.dumps(job) for job in wanted]
    for name, row in processes.results(functools.partial(work, root, effort), names, WORKERS):
        if row is None:
            raise RuntimeError(f"the process of {name} died")
        done[name] = row
        beyond = f", {row['violations']} values beyond the bound" if row.get("violations") else ""
        progress(f"{name}: {row['seconds']:.0f} s{beyond}")
    return [done[name] for name in names]


def kept_peers(found: Row) -> list[Row]:
    """Rows of peers whose versions are those of today."""
    now = {
        codec: peers.versions(codec)
        for codec in peers.PACKAGES
        if not set(peers.PACKAGES[codec]) & set(peers.missing())
    }
    return [entry for entry in found.get("peers", []) if entry["versions"] == now]


def decoded(root: Path, rows: Sequence[Row]) -> list[Row]:
    """CRC of the streams of all cells, by decoder."""
    with tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(rows):
            _, stream = ours.recoded(root, row)
            path = Path(folder) / f"{number:02}.json"
            path.write_text(json.dumps(row["codec"]))
            path.with_suffix(".bin").write_bytes(stream)
        return decoders.crcs(Path(folder))


def measured(part: str, found: Row, arguments: argparse.Namespace) -> list[Row]:
    """The rows of a part."""
    root, quick, effort = arguments.data_root, arguments.quick, arguments.effort
    if part == "decoders":
        return decoded(root, _fitted(found))
    if part == "speed":
        row = next((row for row in _fitted(found) if row["cell"] == speed.CELL), None)
        if row is None:
            raise SystemExit(f"speed needs the part cells, with {speed.CELL}")
        return speed.measured(root, row["codec"], quick)
    if part == "memory":
        return [memory.measured(size) for size in (memory.QUICK_SIZES if quick else memory.SIZES)]
    wanted = jobs(part, quick)
    kept = kept_peers(found) if part == "peers" and arguments.keep_anchors else []
    known = {entry["cell"] for entry in kept}
    rows = in_processes(root, effort, [job for job in wanted if job.get("cell") not in known])
    return sorted([*kept, *rows], key=lambda row: list(fields.BY_NAME).index(row["cell"])) if kept else rows


def _fitted(found: Row) -> list[Row]:
    if not found.get("cells"):
        raise SystemExit(
            "decoders and speed need the part cells: measure it in the same run, or name its --results"
        )
    return list(found["cells"])


def tables(found: Row) -> None:
    """Print everything that was measured."""
    shown: tuple[tuple[str, tuple[str, ...], Callable[[Row], list[list[str]]]], ...] = (
        ("raw bytes over bytes of stores", field_tables.CELL_COLUMNS, field_tables.cell_body),
        ("utility", field_tables.UTILITY_COLUMNS, field_tables.utility_body),
        ("peers beyond their tolerance", field_tables.BROKEN_COLUMNS, field_tables.broken_body),
        ("second month", field_tables.FIT_COLUMNS, field_tables.fit_body),
        ("decoders", field_tables.DECODER_COLUMNS, field_tables.decoder_body),
        ("speed", field_tables.SPEED_COLUMNS, field_tables.speed_body),
        ("memory", field_tables.MEMORY_COLUMNS, field_tables.memory_body),
        ("figures", field_tables.FIGURE_COLUMNS, field_tables.figure_body),
    )
    for title, columns, body in shown:
        if rows := body(found):
            print_table(title, columns, rows)
    for row in found.get("promises", []):
        for message in row["messages"]:
            print(f"generated array: {message}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only; repeatable")
    parser.add_argument(
        "--peers", type=Path, help="folder that holds pysz and imagecodecs, if they are not installed"
    )
    parser.add_argument(
        "--keep-anchors",
        action="store_true",
        help="keep rows of peers in the results if their versions are the same",
    )
    parser.add_argument("--effort", type=float, default=1.0, help="of our fits; 1 in published results")
    parser.add_argument(
        "--results", type=Path, help="file for what was measured; parts not measured stay in it"
    )
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes
    if arguments.peers:
        sys.path.append(str(arguments.peers))  # spawned processes get it, too
    where = machine.describe()
    print(machine.line(where))
    path = arguments.results
    found: Row = json.loads(path.read_text()) if path and path.exists() else {"runs": {}}
    for part in [part for part in PARTS if part in (arguments.only or PARTS)]:
        started = time.time()
        found[part] = measured(part, found, arguments)
        run = {"quick": arguments.quick, "effort": arguments.effort, "seconds": time.time() - started}
        found["runs"][part] = {**run, "machine": where}
        if path:
            atomic.write(path, (json.dumps(found) + "\n").encode())
    tables(found)
    for line in field_figures.missed(found):
        print(line)
    if peers.missing():
        print(
            f"not installed: {', '.join(peers.missing())}, and figures against them are missing: {peers.PIP}"
        )
    finish("field", field_figures.figures(found))


if __name__ == "__main__":
    main()
