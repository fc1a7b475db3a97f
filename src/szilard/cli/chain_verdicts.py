"""Whether the posteriors of draws of a run can be trusted, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard.cli import output, run_paths
from szilard.errors import printable
from szilard.run.folder import RunFolder
from szilard.run.verdict import verdict


def of_run(run: Path) -> dict[str, dict[str, Any]]:
    """The field ``chains`` of the result of each method of a run that has one, with its verdict, by name."""
    folder = RunFolder(run)
    found = {}
    for name in run_paths.methods_in_order(folder):
        if folder.method(name).finished:
            result = folder.method(name).read_result()
            if result.get("chains"):
                found[str(result.get("name") or name)] = result["chains"] | {
                    "verdict": verdict(result["chains"])
                }
    return found


def show(run: Path) -> None:
    """Print a paragraph for each method that keeps draws of chains."""
    for name, told in of_run(run).items():
        output.say("")
        output.say(printable(f"{name}: {told['verdict']}", 600))
