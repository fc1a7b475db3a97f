"""``szilard convert``."""

from __future__ import annotations

from pathlib import Path

from szilard.cli import output
from szilard.cli.table import say_wrapped
from szilard.cli.words import cli
from szilard.errors import SzilardError, printable
from szilard.model.conversion import convert as write


def convert(path: Path, out: Path, *, key: str | None, as_json: bool) -> None:
    """Write the tensors of a file as another kind of file, and print what it is."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        what = "is a folder" if out.is_dir() else "is in a folder that does not exist"
        raise SzilardError(f"{out} {what}; name a file to write")
    with output.told(out):
        made = write(path, out, key=key)
    if as_json:
        given = {"source": str(path), "file": str(out), "tensors": made.tensors, "bytes": made.bytes}
        output.as_json({**given, "notes": list(made.notes)})
        return
    say_wrapped(printable(f"{path} -> {out}: {made.tensors:,} tensors, {made.bytes:,} bytes"))
    for note in made.notes:
        say_wrapped(printable(f"note: {cli(note)}"))
