"""A field of the results of the finished methods of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard.cli import run_paths
from szilard.run.folder import RunFolder


def of_run(run: Path, field: str) -> dict[str, dict[str, Any]]:
    """A table of the result of each method of a run that has it (:mod:`szilard.run.result`), by the method's name."""
    folder = RunFolder(run)
    found = {}
    for name in run_paths.methods_in_order(folder):
        if folder.method(name).finished:
            result = folder.method(name).read_result()
            if result.get(field):
                found[str(result.get("name") or name)] = result[field]
    return found
