"""``szilard inspect``."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from szilard import file
from szilard.file import Entry, Ledger
from szilard.file.error import SzilardFileError, printable
from szilard.file.layout import MAGIC
from szilard.file.ledger import smaller

_WIDTH = 132  # where nobody's terminal says how wide it is

_MEANING = {
    "prefix": "mark and lengths",
    "names": "of tensors",
    "fields": "types, shapes, steps",
    "metadata": "what else belongs to the network",
    "adaptive": "levels, scales and supports, under models that learn",
    "static": "levels under tables of frequencies",
    "raw": "tensors by their exact bytes",
    "trailer": "hashes",
}


def inspect(path: Path, *, tensors: bool, as_json: bool) -> None:
    """Print where the bytes of a file are; of a file of another kind, which tensors it holds."""
    if not _is_szd(path):
        from szilard._cli.listing import listing
        from szilard.training import formats

        if formats.of(path) != formats.Format.SZD:
            listing(path, as_json=as_json)
            return
    found = file.inspect(path, tensors=tensors)
    if found.tensor_bytes is None:  # a support has as many entries as its stream says
        with contextlib.suppress(
            SzilardFileError
        ):  # too slow without kernels, or damaged: szilard verify says it
            found = replace(found, tensor_bytes=file.verify(path).tensor_bytes)
    if as_json:
        print(json.dumps({"path": str(path), **found.to_dict()}, indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(f"{printable(str(path))}: {summary(found)}", style="bold", highlight=False, markup=False)
    console.print(_parts(found))
    console.print(_entries(found))
    if found.meta:
        console.print(f"metadata: {printable(json.dumps(found.meta))}", highlight=False, markup=False)
    console.print(f"content {found.content}", highlight=False)


def _is_szd(path: Path) -> bool:
    """Whether a file begins as ours, which can be seen without torch."""
    try:
        if not path.is_file():
            return True  # its reader says what is wrong
        with path.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return True


def summary(found: Ledger) -> str:
    """The size of a file in one line."""
    bits = f", {8 * found.size / found.values:.3g} bits each" if found.values else ""
    ratio = f"; {smaller(found.ratio)} than its tensors{_as(found.original_type)}" if found.ratio else ""
    return f"{found.size:,} bytes for {found.values:,} values{bits}{ratio}"


def _as(kind: str) -> str:
    return f", which were {kind}" if kind else ""


def _parts(found: Ledger) -> Table:
    table = Table(show_footer=True)
    table.add_column("part", footer="file")
    table.add_column("bytes", justify="right", footer=f"{found.size:,}")
    table.add_column("%", justify="right")
    table.add_column("")
    for name, size in found.parts.items():
        table.add_row(name, f"{size:,}", f"{100 * size / found.size:.1f}", _MEANING[name])
    return table


def _entries(found: Ledger) -> Table:
    table = Table()
    for heading in ("tensor", "kind", "type", "shape"):
        table.add_column(heading)
    for heading in ("values", "bytes", "of scales", "bits a value"):
        table.add_column(heading, justify="right")
    for entry in found.entries:
        shape = "x".join(map(str, entry.shape))
        table.add_row(
            Text(printable(entry.name)), entry.kind, entry.dtype, shape, f"{entry.elements:,}", *_cost(entry)
        )
    if any(entry.bits is None for entry in found.entries):
        table.caption = "- lies in a stream: add --tensors to decode it and give each tensor its part"
    return table


def _cost(entry: Entry) -> tuple[str, str, str]:
    if entry.bits is None or entry.side_bits is None:
        return "-", "-", "-"
    bits = entry.bits + entry.side_bits
    each = f"{bits / entry.elements:.3f}" if entry.elements else ""
    return f"{bits / 8:,.0f}", f"{entry.side_bits / 8:,.0f}" if entry.side_bits else "", each
