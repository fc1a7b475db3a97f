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
EXAMPLES = (
    "szilard verify net.szd",
    "szilard verify net.szd --against runs/digits/ssvi/network.pt",
    "szilard verify era5.zarr --original era5.nc",
)

Checkable = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A compressed network, FILE.szd, or a store of szilard encode."),
]
Against = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Compare with another .szd file, a network.pt, a checkpoint or a .safetensors file.",
    ),
]
Original = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What a store was made of: compare every value with its bound. The exit code is 1 if one is beyond.",
    ),
]


def verify(
    path: Checkable,
    against: Against = None,
    key: n.Key = None,
    original: Original = None,
    json: o.Json = False,
    wide: o.Wide = False,
) -> None:
    """Check that a .szd file is complete and decodes to the tensors that were written; or a store of fields.

    Every chunk of a store is decoded and its checksums are compared; with --original, every value is compared with the
    one that it was made of.
    """
    from szilard.cli.fields.opening import check_there, is_store
    from szilard.errors import SzilardError

    check_there(path)
    if is_store(path):
        if against is not None or key is not None:
            raise SzilardError(f"{path} is a store of fields; compare it with --original FILE")
        _store(path, original, as_json=json, wide=wide)
        return
    if original is not None:
        raise SzilardError(f"{path} is not a store of fields; compare a .szd file with --against FILE")
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


def _store(path: Path, original: Path | None, *, as_json: bool, wide: bool) -> None:
    from szilard.cli import output
    from szilard.cli.fields import checked_table, opening, progress_bar, whole
    from szilard.fields.places import arrays_of

    arrays_of(path)
    if original is None:
        with progress_bar.shown(quiet=as_json) as told:
            every = whole.check_whole(path, told)
        if as_json:
            output.as_json(checked_table.whole_as_json(path, every))
        else:
            checked_table.show_whole(path, every, wide=wide)
        return
    from szilard.coding import CodingError
    from szilard.errors import SzilardError, printable
    from szilard.fields import check

    with opening.opened(path) as stored, opening.opened(original) as source:
        absent = [name for name in opening.bounded(stored) if name not in source.variables]
        if absent:
            raise SzilardError(
                f"{original} has no variable {printable(absent[0])}, which {path} holds with a bound; name the file "
                "that it was made of"
            )
        try:
            found = check(stored, source)
        except CodingError:
            with progress_bar.shown(quiet=as_json) as told:
                whole.check_whole(path, told)  # names the file
            raise
    if as_json:
        output.as_json(checked_table.as_json(path, original, found))
    else:
        checked_table.show_checked(path, original, found, wide=wide)
    if not found.ok:
        raise typer.Exit(1)


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
