"""``szilard inspect``."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from szilard import file
from szilard.cli import output
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.file import Entry, Ledger
from szilard.file.error import SzilardFileError, printable
from szilard.file.ledger import smaller
from szilard.file.sections import MAGIC

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


def inspect(path: Path, *, tensors: bool, as_json: bool, wide: bool) -> None:
    """Print where the bytes of a file are; of a file of another kind, which tensors it holds."""
    if not _is_szd(path):
        from szilard.cli.listing import listing
        from szilard.model import formats

        if formats.of(path) != formats.Format.SZD:
            listing(path, as_json=as_json, wide=wide)
            return
    found = file.inspect(path, tensors=tensors)
    if found.tensor_bytes is None:  # a support has as many entries as its stream says
        with contextlib.suppress(
            SzilardFileError
        ):  # too slow without kernels, or damaged: szilard verify says it
            found = replace(found, tensor_bytes=file.verify(path).tensor_bytes)
    if as_json:
        output.as_json({"path": str(path), **found.to_dict()})
        return
    say_wrapped(f"{printable(str(path))}: {summary(found)}", bold=True)
    output.say("")
    show(_parts(found), wide=wide)
    output.say("")
    show(_entries(found), wide=wide)
    output.say("")
    if found.meta:
        say_wrapped(f"metadata: {printable(json.dumps(found.meta))}")
    say_wrapped(f"content {found.content}")


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
    parts = found.parts.items()
    columns = [
        Column(["part"], [name for name, _ in parts], right=False),
        Column(["bytes"], [f"{size:,}" for _, size in parts]),
        Column(["%"], [f"{100 * size / found.size:.1f}" for _, size in parts], worth=50),
        Column(["what is in it"], [_MEANING[name] for name, _ in parts], right=False, worth=10),
    ]
    return Table(columns, footer=["file", f"{found.size:,}", "100.0", ""])


def _entries(found: Ledger) -> Table:
    entries = found.entries
    costs = [_cost(entry) for entry in entries]
    columns = [
        Column(["tensor"], [printable(entry.name) for entry in entries], right=False),
        Column(["kind"], [entry.kind for entry in entries], right=False, worth=40),
        Column(["type"], [entry.dtype for entry in entries], right=False, worth=30),
        Column(["shape"], ["x".join(map(str, entry.shape)) for entry in entries], right=False, worth=60),
        Column(["values"], [f"{entry.elements:,}" for entry in entries], worth=50),
        Column(["bytes ↓"], [cost[0] for cost in costs]),
        Column(["of scales", "bytes"], [cost[1] for cost in costs], worth=20),
        Column(["a value", "bits"], [cost[2] for cost in costs], worth=70),
    ]
    undecoded = any(entry.bits is None for entry in entries)
    note = "- lies in a stream: add --tensors to decode it and give each tensor its part"
    return Table(columns, notes=[note] if undecoded else [], elsewhere="--wide or --json shows them")


def _cost(entry: Entry) -> tuple[str, str, str]:
    if entry.bits is None or entry.side_bits is None:
        return "-", "-", "-"
    bits = entry.bits + entry.side_bits
    each = f"{bits / entry.elements:.3f}" if entry.elements else ""
    return f"{bits / 8:,.0f}", f"{entry.side_bits / 8:,.0f}" if entry.side_bits else "", each
