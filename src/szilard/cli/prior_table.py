"""What folds chose about the prior of a run, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard.cli import finished_results, output
from szilard.cli.figures import LETTERS
from szilard.cli.table import Column, Table
from szilard.cli.table import show as show_table
from szilard.errors import printable


def of_run(run: Path) -> dict[str, dict[str, Any]]:
    """The field ``prior`` of the result of each method of a run that has one (:mod:`szilard.run.result`), by name."""
    return finished_results.of_run(run, "prior")


def show(run: Path, *, wide: bool = False) -> None:
    """Print the held-out NLL of every way to use the prior, best first, for each method that has one."""
    for name, told in of_run(run).items():
        ranked = sorted(told["nll"].items(), key=lambda pair: pair[1])
        use = {told["fine_tuning"]: "control", told["without"]: "control", told["chosen"]: "run"}
        columns = [
            Column(["trained"], [printable(way, LETTERS) for way, _ in ranked], right=False),
            Column(["held-out NLL ↓", "nats"], [f"{value:.3f}" for _, value in ranked]),
            Column(["chosen for"], [use.get(way, "") for way, _ in ranked], right=False),
        ]
        title = f"{name}: prior of {told['source']}, {told['folds']} folds of the training labels"
        output.say("")
        show_table(Table(columns, title=printable(title, LETTERS)), wide=wide)
