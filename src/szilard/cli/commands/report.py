"""``szilard report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from szilard.cli.options import output as o

GROUP = "Look"
EXAMPLES = ("szilard report runs/digits", "szilard report runs/digits runs/longer")

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]


def report(runs: Runs, json: o.Json = False, wide: o.Wide = False) -> None:
    """Write report.html of each run again, and print the networks of all runs in one table."""
    from szilard import report as pages
    from szilard.cli import detail_tables, figures, output, prior_table, run_paths
    from szilard.errors import printable
    from szilard.run.folder import RunFolder

    for path in runs:
        run_paths.run_folder(path)
    try:
        written = [pages.write(path) for path in runs]
        shown = [one for path in runs for one in (path, *(c.path for c in RunFolder(path).controls))]
        if json:
            rows, _ = figures.of_runs(shown)
            found = {str(path): told for path in runs if (told := prior_table.of_run(path))}
            more = {"prior": found} if found else {}
            output.as_json({"reports": [str(path) for path in written], "networks": rows} | more)
            return
        detail_tables.show(figures.show(shown, wide=wide), wide=wide, elsewhere=figures.ELSEWHERE)
        for path in runs:
            prior_table.show(path, wide=wide)
    except KeyboardInterrupt as stop:
        stop.args = ("each report.html is complete, either old or new",)
        raise
    for path in written:
        output.say(printable(str(path)))
