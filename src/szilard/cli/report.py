"""``szilard report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from szilard import report as room
from szilard.cli import figures, output, small_print, target
from szilard.errors import printable


def report(runs: Sequence[Path], *, as_json: bool, wide: bool) -> None:
    """Write the page of each run, and print all their rows in one table."""
    for path in runs:
        target.run(path)
    try:
        written = [room.write(path) for path in runs]
        if as_json:
            rows, _ = figures.of_runs(runs)
            output.as_json({"reports": [str(path) for path in written], "networks": rows})
            return
        small_print.print_below(figures.show(runs, wide=wide), wide=wide, elsewhere=figures.ELSEWHERE)
    except KeyboardInterrupt as stop:
        stop.args = ("each report.html is whole, as it was before or new",)
        raise
    for path in written:
        output.say(printable(str(path)))
