"""``szilard inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from szilard.cli.options import output as o

if TYPE_CHECKING:
    from szilard.cli.table import Table
    from szilard.file import Entry, Ledger

GROUP = "Look"
EXAMPLES = (
    "szilard inspect net.szd",
    "szilard inspect net.szd --tensors --json",
    "szilard inspect checkpoint.pt",
    "szilard inspect era5.zarr",
)

Weights = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A .szd file, a PyTorch checkpoint, a .safetensors file, a TorchScript archive, or a store of fields.",
    ),
]
Tensors = Annotated[
    bool, typer.Option("--tensors", help="Decode the file, and print how many bytes each tensor takes.")
]

_CONTENTS = {
    "prefix": "magic number and lengths",
    "names": "names of tensors",
    "fields": "types, shapes, steps",
    "metadata": "all else about the network",
    "adaptive": "levels, scales and supports, adaptive coder",
    "static": "levels, static frequency tables",
    "raw": "tensors stored exactly",
    "trailer": "hashes",
}


def inspect(path: Weights, tensors: Tensors = False, json: o.Json = False, wide: o.Wide = False) -> None:
    """Show what a .szd file or a store of fields contains and where its bytes are; or list the tensors of another file.

    The network is not needed, and no code in the file is run. Of a store of szilard encode, no chunk is decoded.
    """
    from szilard.cli.fields.opening import check_there, is_store
    from szilard.cli.szd_summary import is_szd

    check_there(path)
    if is_store(path):
        _store(path, as_json=json, wide=wide)
        return
    if not is_szd(path):
        from szilard.cli.external.listing import print_tensors
        from szilard.model import formats

        if formats.of(path) != formats.Format.SZD:
            print_tensors(path, as_json=json, wide=wide)
            return
    from szilard.cli import output

    found = _ledger(path, tensors)
    if json:
        output.as_json({"path": str(path), **found.to_dict()})
    else:
        _print(path, found, wide)


def _store(path: Path, *, as_json: bool, wide: bool) -> None:
    from szilard.cli import output
    from szilard.cli.fields import inspected_table
    from szilard.fields import inspect as inspected

    found = inspected(path)
    if as_json:
        output.as_json(inspected_table.as_json(found))
    else:
        inspected_table.show_inspected(found, wide=wide)


def _ledger(path: Path, tensors: bool) -> Ledger:
    import contextlib
    from dataclasses import replace

    from szilard import file
    from szilard.file.error import SzilardFileError

    found = file.inspect(path, tensors=tensors)
    if found.tensor_bytes is None:  # the size of a support is known once its stream is decoded
        # Without the size, if decoding is too slow without kernels or the file is damaged: szilard verify says which.
        with contextlib.suppress(SzilardFileError):
            found = replace(found, tensor_bytes=file.verify(path).tensor_bytes)
    return found


def _print(path: Path, found: Ledger, wide: bool) -> None:
    import json

    from szilard.cli import output, szd_summary
    from szilard.cli.table import say_wrapped, show
    from szilard.errors import printable

    say_wrapped(f"{printable(str(path))}: {szd_summary.one_line(found)}", bold=True)
    output.say("")
    show(_parts(found), wide=wide)
    output.say("")
    show(_entries(found), wide=wide)
    output.say("")
    if found.meta:
        say_wrapped(f"metadata: {printable(json.dumps(found.meta))}")
    say_wrapped(f"content {found.content}")


def _parts(found: Ledger) -> Table:
    from szilard.cli.table import Column, Table

    parts = found.parts.items()
    columns = [
        Column(["part"], [name for name, _ in parts], right=False),
        Column(["bytes"], [f"{size:,}" for _, size in parts]),
        Column(["%"], [f"{100 * size / found.size:.1f}" for _, size in parts], worth=50),
        Column(["what is in it"], [_CONTENTS[name] for name, _ in parts], right=False, worth=10),
    ]
    return Table(columns, footer=["file", f"{found.size:,}", "100.0", ""])


def _entries(found: Ledger) -> Table:
    from szilard.cli.table import Column, Table
    from szilard.errors import printable

    entries = found.entries
    costs = [_cost(entry) for entry in entries]
    columns = [
        Column(["tensor"], [printable(entry.name) for entry in entries], right=False),
        Column(["kind"], [entry.kind for entry in entries], right=False, worth=40),
        Column(["type"], [entry.dtype for entry in entries], right=False, worth=30),
        Column(["shape"], ["x".join(map(str, entry.shape)) for entry in entries], right=False, worth=60),
        Column(["values"], [f"{entry.elements:,}" for entry in entries], worth=50),
        Column(["bytes ↓"], [cost[0] for cost in costs]),
        Column(["scale", "bytes"], [cost[1] for cost in costs], worth=20),
        Column(["bits per", "value"], [cost[2] for cost in costs], worth=70),
    ]
    undecoded = any(entry.bits is None for entry in entries)
    note = "- shares a stream with other tensors: add --tensors to decode it and see the bytes of each tensor"
    return Table(columns, notes=[note] if undecoded else [], elsewhere="--wide or --json shows them")


def _cost(entry: Entry) -> tuple[str, str, str]:
    if entry.bits is None or entry.side_bits is None:
        return "-", "-", "-"
    bits = entry.bits + entry.side_bits
    each = f"{bits / entry.elements:.3f}" if entry.elements else ""
    return f"{bits / 8:,.0f}", f"{entry.side_bits / 8:,.0f}" if entry.side_bits else "", each
