"""``szilard verify``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from szilard import file
from szilard._cli.inspect import summary
from szilard.file.error import SzilardFileError, printable

if TYPE_CHECKING:
    from szilard.file.compare import Difference


def verify(path: Path, against: Path | None, *, key: str | None, as_json: bool) -> None:
    """Check a file, and print how far it is from another."""
    found = file.verify(path)
    differences = [] if against is None else _compare(path, against, key)
    if as_json:
        given = {"path": str(path), "whole": True, **found.to_dict()}
        if against is not None:
            given |= {"against": str(against), "differences": [asdict(one) for one in differences]}
        print(json.dumps(given, indent=2))
        return
    print(f"{printable(str(path))} is whole: {summary(found)}; content {found.content}")
    if against is not None:
        _print(against, differences)


def _compare(path: Path, against: Path, key: str | None) -> list[Difference]:
    from szilard.file.compare import compare

    state = file.load(path)
    return compare(state, _other(against, state, key), (str(path), str(against)))


def _other(path: Path, state: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The state dict in a file, ours or somebody's, under the names of another if it has its tensors."""
    from szilard.training import fitting, stored

    found = stored.read(path)
    try:
        fitted = fitting.fit(found, state, key).state
    except SzilardFileError:
        return found.group(key)[1] if found.groups else {}
    return {name: fitted[name] for name in state if name in fitted}


def _print(against: Path, differences: list[Difference]) -> None:
    same = sum(one.identical for one in differences)
    print(f"{same} of {len(differences)} tensors are those of {printable(str(against))}, bit for bit")
    if same == len(differences):
        return
    table = Table()
    table.add_column("tensor that differs")
    table.add_column("largest difference", justify="right")
    table.add_column("relative, RMS", justify="right")
    for one in differences:
        if not one.identical:
            table.add_row(Text(printable(one.name)), f"{one.largest:.3g}", f"{one.relative:.3g}")
    Console().print(table)
