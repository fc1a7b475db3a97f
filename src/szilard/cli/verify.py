"""``szilard verify``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from szilard import file
from szilard.cli import output
from szilard.cli.inspect import summary
from szilard.cli.table import Column, Table, say_wrapped, show
from szilard.file.error import SzilardFileError, printable

if TYPE_CHECKING:
    from szilard.file.compare import Difference


def verify(path: Path, against: Path | None, *, key: str | None, as_json: bool, wide: bool) -> None:
    """Check a file, and print how far it is from another."""
    found = file.verify(path)
    differences = [] if against is None else _compare(path, against, key)
    if as_json:
        given = {"path": str(path), "whole": True, **found.to_dict()}
        if against is not None:
            given |= {"against": str(against), "differences": [asdict(one) for one in differences]}
        output.as_json(given)
        return
    say_wrapped(f"{printable(str(path))} is whole: {summary(found)}; content {found.content}")
    if against is not None:
        _print(against, differences, wide)


def _compare(path: Path, against: Path, key: str | None) -> list[Difference]:
    from szilard.file.compare import compare

    state = file.load(path)
    return compare(state, _other(against, state, key), (str(path), str(against)))


def _other(path: Path, state: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The state dict in a file, ours or somebody's, under the names of another if it has its tensors."""
    from szilard.model import fitting, stored

    found = stored.read(path)
    try:
        fitted = fitting.fit(found, state, key).state
    except SzilardFileError:
        return found.group(key)[1] if found.groups else {}
    return {name: fitted[name] for name in state if name in fitted}


def _print(against: Path, differences: list[Difference], wide: bool) -> None:
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
