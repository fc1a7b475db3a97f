"""Whether the posteriors of draws of a run can be trusted, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard.cli import finished_results, output
from szilard.errors import printable
from szilard.run.verdict import verdict


def of_run(run: Path) -> dict[str, dict[str, Any]]:
    """The field ``chains`` of the result of each method of a run that has one, with its verdict, by name."""
    found = finished_results.of_run(run, "chains")
    return {name: told | {"verdict": verdict(told)} for name, told in found.items()}


def show(run: Path) -> None:
    """Print a paragraph for each method that keeps draws of chains."""
    for name, told in of_run(run).items():
        output.say("")
        output.say(printable(f"{name}: {told['verdict']}", 600))
