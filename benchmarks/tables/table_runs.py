"""Running the command line on one table."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from szilard import cli, interrupts
from szilard.data import DataSet
from szilard.training import run as runs
from tables.table_files import Table
from zoo_training.prepared_checks import Wrong
from zoo_training.verdicts import is_sentence

METHODS = {"ssvi": "ssvi", "dense": "deterministic"}


class Refused(Exception):
    """The command line refused with one sentence."""


@dataclass
class Tried:
    """One table, with the results of the stages so far."""

    table: Table
    folder: Path
    data: DataSet | None = None
    twin: DataSet | None = None
    rows: dict[str, list[int]] = field(default_factory=dict)  # row numbers in the file, by part

    @property
    def file(self) -> Path:
        return self.folder / f"my table{self.table.suffix}"

    def run(self, name: str) -> Path:
        return self.folder / name


def command(*arguments: str | Path) -> str:
    """Output of ``szilard``, run in this process.

    Raises:
        Refused: exit code 2 with one sentence.
        Wrong: a different exit code, or no sentence.
    """
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(),
        mock.patch.object(sys, "argv", ["szilard", *map(str, arguments)]),
        mock.patch.object(interrupts, "install"), mock.patch.dict(os.environ),  # keep the state of this process
        mock.patch.object(warnings, "formatwarning", warnings.formatwarning),
    ):  # fmt: skip
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
    if not code:
        return out.getvalue()
    errors = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    if code == 2 and re.search(r"\b[a-z_]+=(True|False|['\"])", err.getvalue()):
        raise Wrong(
            f"a refusal names Python arguments instead of command-line options: {err.getvalue().strip()[-160:]}"
        )
    if code == 2 and len(errors) == 1 and is_sentence(errors[0]):
        raise Refused(errors[0].removeprefix("error: "))
    if code == 2 and "No such option" in err.getvalue():
        raise Refused(f"this version has no option {arguments[-2] if len(arguments) > 1 else ''}")
    raise Wrong(f"szilard {arguments[0]} ended with {code}: {err.getvalue()[-160:]!r}")


def fit(tried: Tried, name: str, *more: str) -> None:
    """Train for five epochs of four batches."""
    chosen = [text for method in METHODS.values() for text in ("--method", method)]
    batch = max(1, math.ceil(0.7 * len(tried.table.rows) / 4))
    command(
        "fit", "--data", tried.file, "--target", "y", "--network", "mlp:32", *chosen, "--no-baselines",
        "--epochs", "5", "--batch-size", str(batch), "--checkpoint-steps", "5", "--samples", "8",
        "--out", tried.run(name), "--quiet", *more, *tried.table.options,
    )  # fmt: skip


@contextlib.contextmanager
def listening() -> Iterator[list[DataSet]]:
    """Record the data sets that runs load inside the block."""
    recorded: list[DataSet] = []
    load = runs.data_sets.load

    def spied(*given: Any, **options: Any) -> DataSet:
        recorded.append(load(*given, **options))
        return recorded[-1]

    with mock.patch.object(runs.data_sets, "load", spied):
        yield recorded


def network(tried: Tried, run: str, method: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(tried.run(run) / method / "network.pt", weights_only=True)
    return found


def result(tried: Tried, method: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tried.run("run") / method / "result.json").read_text())
    return found


def predicted(tried: Tried, method: str, file: Path) -> list[dict[str, str]]:
    to = tried.folder / "predicted.csv"
    command("predict", tried.run("run"), file, "--method", METHODS[method], "--samples", "8", "--out", to)
    with to.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
