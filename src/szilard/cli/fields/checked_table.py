"""What ``szilard verify`` prints and returns for a store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard.cli.fields.sizes import size
from szilard.cli.fields.written_table import names
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.errors import printable

if TYPE_CHECKING:
    from szilard.cli.fields.whole import Whole
    from szilard.fields import Checked

_LETTERS = 60


def show_whole(path: Path, found: list[Whole], *, wide: bool) -> None:
    """Print what was decoded."""
    columns = [
        Column(["variable"], [printable(one.name, _LETTERS) for one in found], right=False),
        Column(["values"], [f"{one.values:,}" for one in found], worth=50),
        Column(["chunks"], [f"{one.chunks:,}" for one in found], worth=40),
        Column(["stored"], [size(one.bytes) for one in found], worth=30),
        Column(["checksums"], ["agree" if one.coded else "none" for one in found], right=False, worth=60),
    ]
    say_wrapped(f"{printable(str(path), 200)} is complete: every chunk was decoded.", bold=True)
    show(Table(columns, notes=[f"To check the bounds, add --original with the file that {path.name} was made of."]),
         wide=wide)  # fmt: skip


def show_checked(path: Path, original: Path, found: Checked, *, wide: bool) -> None:
    """Print the errors of each variable."""
    rows = list(found.variables.values())
    columns = [
        Column(["variable"], [printable(one.name, _LETTERS) for one in rows], right=False),
        Column(["bound"], [printable(one.bound, _LETTERS) for one in rows], right=False, worth=50),
        Column(["values"], [f"{one.values:,}" for one in rows], worth=20),
        Column(["largest error", "/ bound"], [f"{one.largest:.6g}" for one in rows], worth=60),
        Column(["largest error", "in units"], [f"{one.error:.4g}" for one in rows], worth=30),
        Column(["values", "beyond"], [f"{one.beyond:,}" for one in rows], worth=70),
        Column(["NaN, inf"], [_moved(one.moved) for one in rows], right=False, worth=40),
    ]
    title = f"{printable(str(path), 200)} against {printable(str(original), 200)}"
    if rows:
        show(Table(columns, title=title, transposes=True, elsewhere="--wide or --json shows them"), wide=wide)
    else:
        say_wrapped(f"{title}: no variable has a bound")
    if found.exact:
        say_wrapped(f"Equal: {names(found.exact)}.")
    if found.changed:
        say_wrapped(f"DIFFERENT, although they are stored exactly: {names(found.changed)}.")
    if found.missing:
        say_wrapped(f"MISSING in the store: {names(found.missing)}.")
    say_wrapped(
        "Every value is within its bound." if found.ok else "The store does not keep what it promises."
    )


def as_json(path: Path, original: Path, found: Checked) -> dict[str, Any]:
    """The same as a table of JSON."""
    return {
        "path": str(path),
        "original": str(original),
        "ok": found.ok,
        "variables": [{**asdict(one), "ok": one.ok} for one in found.variables.values()],
        "exact": list(found.exact),
        "changed": list(found.changed),
        "missing": list(found.missing),
    }


def whole_as_json(path: Path, found: list[Whole]) -> dict[str, Any]:
    """Every chunk was decoded, as a table of JSON."""
    return {"path": str(path), "whole": True, "variables": [asdict(one) for one in found]}


def _moved(count: int) -> str:
    return f"{count:,} differ" if count else "equal"
