"""``szilard verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from szilard.cli.options import network as n
from szilard.cli.options import output as o

if TYPE_CHECKING:
    from szilard.file.compare import Difference

GROUP = "Look"
EXAMPLES = ("szilard verify net.szd", "szilard verify net.szd --against runs/digits/ssvi/network.pt")

SzdFile = Annotated[Path, typer.Argument(metavar="FILE.szd", help="A compressed network.")]
Against = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Compare with another .szd file, a network.pt, a checkpoint or a .safetensors file.",
    ),
]


def verify(
    path: SzdFile, against: Against = None, key: n.Key = None, json: o.Json = False, wide: o.Wide = False
) -> None:
    """Check that a .szd file is complete and decodes to the tensors that were written."""
    from szilard import file
    from szilard.cli import output, szd_summary
    from szilard.cli.table import say_wrapped
    from szilard.errors import printable

    found = file.verify(path)
    differences = [] if against is None else _compare(path, against, key)
    if json:
        content = {"path": str(path), "whole": True, **found.to_dict()}
        if against is not None:
            content |= {"against": str(against), "differences": [asdict(one) for one in differences]}
        output.as_json(content)
        return
    say_wrapped(f"{printable(str(path))} is complete: {szd_summary.one_line(found)}; content {found.content}")
    if against is not None:
        _print(against, differences, wide)


def _compare(path: Path, against: Path, key: str | None) -> list[Difference]:
    from szilard import file
    from szilard.file.compare import compare

    state = file.load(path)
    return compare(state, _tensors(against, state, key), (str(path), str(against)))


def _tensors(path: Path, state: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The state dict in any file of weights, under the names of ``state`` if it has those tensors."""
    from szilard.file.error import SzilardFileError
    from szilard.model import matching, stored

    found = stored.read(path)
    try:
        matched = matching.match(found, state, key).state
    except SzilardFileError:
        return found.group(key)[1] if found.groups else {}
    return {name: matched[name] for name in state if name in matched}


def _print(against: Path, differences: list[Difference], wide: bool) -> None:
    from szilard.cli import output
    from szilard.cli.table import Column, Table, say_wrapped, show
    from szilard.errors import printable

    same = sum(one.identical for one in differences)
    say_wrapped(f"{same} of {len(differences)} tensors are those of {printable(str(against))}, bit for bit")
    others = [one for one in differences if not one.identical]
    if not others:
        return
    columns = [
        Column(["tensor that differs"], [printable(one.name) for one in others], right=False),
        Column(["largest", "difference"], [f"{one.largest:.3g}" for one in others]),
        Column(["relative", "RMS"], [f"{one.relative:.3g}" for one in others], worth=50),
    ]
    output.say("")
    show(Table(columns, elsewhere="--wide or --json shows them"), wide=wide)
