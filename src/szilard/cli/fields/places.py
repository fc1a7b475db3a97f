"""Whether what a command for fields writes is in the way of what it reads."""

from __future__ import annotations

from pathlib import Path

from szilard.cli.fields.opening import is_store
from szilard.errors import SzilardError


def check(source: Path, out: Path) -> None:
    """Raise if input and output are the same, or one is inside the other.

    Args:
        source: what is read.
        out: what is to be written.

    Raises:
        SzilardError: they are, or the output has no name.
    """
    if out.name in ("", ".."):
        raise SzilardError(f"{out} has no name; name a new folder or file with --out")
    one, other = source.resolve(), out.resolve()
    if one == other:
        raise SzilardError(f"{out} is what this command reads; name another place with --out")
    if one in other.parents and is_store(source):
        raise SzilardError(
            f"{out} is inside {source}, which this command reads; name another place with --out"
        )
    if other in one.parents:
        raise SzilardError(
            f"{out} contains {source}, which this command reads; name another place with --out"
        )


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raise if something is there, or there is no folder to write in.

    Raises:
        SzilardError: that is so.
    """
    if not out.absolute().parent.is_dir():
        raise SzilardError(
            f"{out} is in a folder that does not exist; make it, or name another place with --out"
        )
    if (out.exists() or out.is_symlink()) and not overwrite:
        raise SzilardError(f"{out} exists; name another place with --out, or add --overwrite")
