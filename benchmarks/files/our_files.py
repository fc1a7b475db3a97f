"""Szilard's files of a pretrained network: with calibration images, without data, and for several λ.

One row has its *drop guaranteed*: with confidence 0.9 the limit also holds on images that did not select the file.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

import szilard
from files.accuracy import right
from files.coded import Coded
from files.contest import Row, limit, row_of
from files.judge import Entry, Judge
from szilard.compression import Compressed, Pass

NAME = "Szilard, 512 unlabelled images"
PROMISED = "Szilard, 512 unlabelled images, drop guaranteed"
DATA_FREE = "Szilard, no data"
POINT = "Szilard, curve"
OCTAVES = (-2.0, -1.0, 1.0)  # factors of λ, around the selected one
QUICK_OCTAVES = (-1.5,)
READS = 5


def rows(
    judge: Judge,
    quick: bool,
    progress: Callable[[str], None],
    passes: Callable[[], list[Pass]] | None = None,
) -> tuple[list[Row], Compressed]:
    """Szilard's rows, the curve of the first, and the result of the first.

    Args:
        passes: replacements of the default passes.
    """
    case = judge.case

    def score(network: Any) -> float:
        return float(right(network, case.choose).mean())

    def by_image(network: Any) -> torch.Tensor:
        return torch.from_numpy(right(network, case.choose)).double()

    cpu = {}

    def compress(name: str, calibration: Any, **options: Any) -> Compressed:
        started = time.process_time()
        made = szilard.compress(
            case.network,
            calibration=calibration,
            progress=progress,
            passes=None if passes is None else passes(),
            **options,
        )
        cpu[name] = round(time.process_time() - started, 1)
        return made

    most = limit(judge) / 100
    found = compress(NAME, case.calibration, max_drop=most, evaluate=score)
    table = [row_of(NAME, judge, entry(NAME, found, cpu[NAME]), len(found.trials))]
    kept = compress(PROMISED, case.calibration, max_drop=most, evaluate=by_image)
    table.append(row_of(PROMISED, judge, entry(PROMISED, kept, cpu[PROMISED]), len(kept.trials)))
    free = compress(DATA_FREE, None, max_drop=most, evaluate=score)
    table.append(row_of(DATA_FREE, judge, entry(DATA_FREE, free, cpu[DATA_FREE]), len(free.trials)))
    for octave in QUICK_OCTAVES if quick else OCTAVES:
        other = compress(POINT, case.calibration, lam=found.lam * 2**octave)
        table.append(row_of(POINT, judge, entry(POINT, other, cpu[POINT])))
    return table, found


def entry(name: str, compressed: Compressed, cpu_seconds: float) -> Entry:
    """A file as the result of a contestant; accuracy is measured on the tensors that :func:`szilard.load` returns."""

    def read_back() -> Coded:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.szd"
            compressed.save(path)
            seconds = []
            for _ in range(READS):
                started = time.perf_counter()
                state = szilard.load(path)
                seconds.append(time.perf_counter() - started)
            return Coded(path.stat().st_size, dict(state), compressed.seconds, median(seconds))

    return Entry(name, {"lam": compressed.lam, "cpu_seconds": cpu_seconds}, read_back)
