"""``szilard convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from szilard.cli.options import network as n
from szilard.cli.options import output as o

GROUP = "Compress"
EXAMPLES = (
    "szilard convert net.szd net.safetensors",
    "szilard convert net.szd net.pt",
    "szilard convert checkpoint.ckpt net.szd --key state_dict",
)

Source = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A .szd or .safetensors file, a network.pt, a PyTorch state dict or checkpoint, a TorchScript archive.",
    ),
]
Out = Annotated[
    Path,
    typer.Argument(
        metavar="OUT", help="File to write; its ending chooses the format: .szd, .safetensors or .pt."
    ),
]


def convert(path: Source, out: Out, key: n.Key = None, json: o.Json = False) -> None:
    """Convert a file of tensors to another format, bit for bit: .szd, .safetensors or PyTorch.

    No code in the file is run and nothing is rounded; what is not converted is listed. To make a file small, use
    szilard compress.
    """
    from szilard.cli import output
    from szilard.cli.option_names import for_command_line
    from szilard.cli.table import say_wrapped
    from szilard.errors import printable
    from szilard.model.conversion import convert as write

    output.check_writable(out)
    with output.writing(out):
        made = write(path, out, key=key)
    if json:
        output.as_json(
            {
                "source": str(path),
                "file": str(out),
                "tensors": made.tensors,
                "bytes": made.bytes,
                "notes": list(made.notes),
            }
        )
        return
    say_wrapped(printable(f"{path} -> {out}: {made.tensors:,} tensors, {made.bytes:,} bytes"))
    for note in made.notes:
        say_wrapped(printable(f"note: {for_command_line(note)}"))
