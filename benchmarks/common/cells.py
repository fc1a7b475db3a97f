"""Cells: the result of one test case, as JSON, with a verdict and a message.

``verdict`` is "right", "refused", "wrong" or "crashed" (or "not reached"); ``message`` says why. Each benchmark
adds its own fields, and its own label for messages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from common import processes
from common.harness import progress

VERDICTS = ("right", "refused", "wrong", "crashed")
FAULTS = ("wrong", "crashed")
REASON_COLUMNS = ("refused because", "cells", "for example")
EVERY = 10  # subjects between two lines of progress
Cell = dict[str, Any]
Label = Callable[[Cell], str]


def measure(
    work: Callable[[str], list[Cell]],
    names: Sequence[str],
    workers: int,
    *,
    died: Callable[[str, str], list[Cell]],
    label: Label,
) -> list[Cell]:
    """The cells of every subject, in the order of the names.

    Args:
        work: the cells of one subject; see :func:`common.processes.results`.
        names: the subjects to test.
        workers: the number of processes.
        died: the cells of a subject that crashed its process, from its name and a message.
        label: the name of a cell in messages.
    """
    found: dict[str, list[Cell]] = {}
    for name, cells in processes.results(work, names, workers):
        found[name] = died(name, "the process died") if cells is None else cells
        for cell in faulty(found[name]):
            progress(f"{cell['verdict']}: {label(cell)}: {cell['message']}")
        if len(found) % EVERY == 0:
            progress(f"{len(found)} of {len(names)}")
    return [cell for name in names for cell in found[name]]


def faulty(cells: Iterable[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell["verdict"] in FAULTS]


def counts(cells: Sequence[Cell]) -> dict[str, int]:
    """Number of tested cells, in total and by verdict."""
    verdicts = Counter(cell["verdict"] for cell in cells)
    of = {verdict: verdicts[verdict] for verdict in VERDICTS}
    return {"cells": sum(of.values()), **of}


def reasons(
    cells: Iterable[Cell], label: Label, message: Label = lambda cell: cell["message"]
) -> list[list[str]]:
    """Refusals by message, the most frequent first, under :data:`REASON_COLUMNS`.

    Args:
        message: the message of a cell, without parts that differ from run to run, such as paths.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell["verdict"] == "refused":
            found.setdefault(_without_figures(message(cell)), []).append(cell)
    ordered = sorted(found.values(), key=lambda same: (-len(same), same[0]["message"]))
    return [[message(same[0]), str(len(same)), label(same[0])] for same in ordered]


def _without_figures(sentence: str) -> str:
    """The first 110 characters without numbers: messages that agree in these have the same reason."""
    return re.sub(r"\d[\d.,e+-]*", "#", sentence)[:110]
