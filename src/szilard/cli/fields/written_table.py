"""What ``szilard encode`` prints: bytes of each variable, and what was stored exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from szilard.cli.fields.sizes import ratio, shape, size
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.errors import printable

if TYPE_CHECKING:
    from szilard.fields import Written

_LETTERS = 60
_NAMES = 20  # names in a sentence


def show_written(written: Written, notes: Sequence[str], *, seconds: float, wide: bool) -> None:
    """Print the table.

    Args:
        written: what was written.
        notes: sentences below it.
        seconds: of the whole command.
        wide: all columns, however wide the terminal is.
    """
    rows = list(written.variables.values())
    smaller = ratio(written.raw_bytes, written.bytes)
    of_all = f"{size(written.raw_bytes)} as {size(written.bytes)}, {smaller} times smaller"
    columns = [
        Column(["variable"], [printable(one.name, _LETTERS) for one in rows], right=False),
        Column(["bound"], [printable(one.bound, _LETTERS) for one in rows], right=False, worth=60),
        Column(["raw"], [size(one.raw_bytes) for one in rows], worth=40),
        Column(["stored"], [size(one.bytes) for one in rows], worth=50),
        Column(["ratio"], [ratio(one.raw_bytes, one.bytes) for one in rows], worth=70),
        Column(["chunk"], [shape(one.chunks) for one in rows], right=False, worth=20),
        Column(["chunks"], [_counted(one.n_chunks, one.new_chunks) for one in rows], worth=10),
        Column(["seconds"], [f"{one.seconds:,.1f}" for one in rows], worth=30),
    ]
    title = f"{printable(str(written.path), 200)}: {of_all}, in {seconds:,.1f} s"
    show(Table(columns, title=title, transposes=True), wide=wide)
    if written.exact:
        say_wrapped(f"Stored exactly: {names(written.exact)}.")
    for note in notes:
        say_wrapped(f"note: {note}")


def names(found: Sequence[str]) -> str:
    """Names in a sentence; the first twenty."""
    more = f" and {len(found) - _NAMES} more" if len(found) > _NAMES else ""
    return ", ".join(printable(name, _LETTERS) for name in found[:_NAMES]) + more


def _counted(total: int, new: int) -> str:
    return f"{total:,}" if new == total else f"{total:,} ({new:,} new)"
