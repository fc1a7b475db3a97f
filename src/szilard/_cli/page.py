"""The report of a run, as a file."""

from __future__ import annotations

from pathlib import Path

from szilard import report
from szilard.training import atomic


def write(run: Path) -> Path:
    """Write ``report.html``.

    Raises:
        SzilardError: the disk is full or the folder cannot be written to.
    """
    try:
        return report.write(run)
    except OSError as error:
        (run / "report.html.tmp").unlink(missing_ok=True)
        raise atomic.refusal(run / "report.html", error) from error
