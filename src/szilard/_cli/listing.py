"""What a file of somebody's weights holds, for ``szilard inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from szilard.errors import printable
from szilard.training import fitting, formats, stored

_WIDTH = 132  # where nobody's terminal says how wide it is
_LETTERS = 200  # of a name


def listing(path: Path, *, as_json: bool) -> None:
    """Print the tensors of a file of safetensors or of torch.save, or of a TorchScript archive.

    Raises:
        SzilardFileError: it cannot be read, or is of a kind that holds no weights we can read.
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
    total, _ = fitting.size(value for tensors in found.groups.values() for value in tensors.values())
    if as_json:
        given = {"path": str(path), "kind": kind, "bytes": path.stat().st_size, "tensor_bytes": total}
        print(json.dumps({**given, "tensors": rows}, indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    size = f"{path.stat().st_size:,} bytes, {len(rows):,} tensors of {total:,} bytes in all, tied ones once"
    console.print(f"{printable(str(path))} is {kind}: {size}", style="bold", highlight=False, markup=False)
    table = Table()
    for heading in ("in", "tensor", "type", "shape"):
        table.add_column(heading)
    table.add_column("bytes", justify="right")
    for row in rows:
        names = (Text(printable(row[key], _LETTERS)) for key in ("group", "name"))
        table.add_row(*names, row["dtype"], "x".join(map(str, row["shape"])), f"{row['bytes']:,}")
    console.print(table)
