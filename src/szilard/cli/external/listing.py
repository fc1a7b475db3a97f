"""The tensors in a file that is not a ``.szd`` file, for ``szilard inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from szilard.cli import output
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.errors import printable
from szilard.model import formats, matching, stored


def print_tensors(path: Path, *, as_json: bool, wide: bool) -> None:
    """Print the tensors of a .safetensors file, a file of torch.save or a TorchScript archive.

    Raises:
        SzilardFileError: it cannot be read, or is in a format without weights, or one that szilard cannot read.
    """
    kind = formats.of(path).value
    found = stored.read(path)
    rows: list[dict[str, Any]] = [
        {
            "group": group,
            "name": name,
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "bytes": value.numel() * value.element_size(),
        }
        for group, tensors in found.groups.items()
        for name, value in tensors.items()
    ]
    total, _ = matching.size(value for tensors in found.groups.values() for value in tensors.values())
    if as_json:
        content = {"path": str(path), "kind": kind, "bytes": path.stat().st_size, "tensor_bytes": total}
        output.as_json({**content, "tensors": rows})
        return
    size = f"{path.stat().st_size:,} bytes, {len(rows):,} tensors of {total:,} bytes in all, tied tensors counted once"
    say_wrapped(f"{printable(str(path))} is {kind}: {size}", bold=True)
    output.say("")
    columns = [
        Column(["tensor"], [printable(row["name"]) for row in rows], right=False),
        Column(["in"], [printable(row["group"]) for row in rows], right=False, worth=20),
        Column(["type"], [row["dtype"] for row in rows], right=False, worth=30),
        Column(["shape"], ["x".join(map(str, row["shape"])) for row in rows], right=False, worth=60),
        Column(["bytes"], [f"{row['bytes']:,}" for row in rows]),
    ]
    show(Table(columns, elsewhere="--wide or --json shows them"), wide=wide)
