"""``szilard report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from szilard import report as room
from szilard._cli import table, target
from szilard.errors import printable


def report(runs: Sequence[Path]) -> None:
    """Write the page of each run, and print all their rows in one table."""
    for path in runs:
        target.run(path)
    try:
        written = [room.write(path) for path in runs]
        table.show(runs)
    except KeyboardInterrupt as stop:
        stop.args = ("each report.html is whole, as it was before or new",)
        raise
    for path in written:
        print(printable(str(path)))
