"""Networks with several inputs, which the command line cannot give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from szilard.data.files import path_of
from szilard.data.npz import Archive
from szilard.data.table import listed
from szilard.errors import SzilardError
from szilard.networks.takes import Takes

_USED = frozenset(f"{name}{part}" for name in "xy" for part in ("", "_train", "_valid", "_test"))


def refuse(network: nn.Module, data_options: dict[str, Any]) -> None:
    """Refuse a network that needs more than one input.

    Args:
        data_options: of :class:`szilard.cli.request.Request`.

    Raises:
        SzilardError: its forward has several parameters without a default.
    """
    takes = Takes.of(network)
    if takes is None or len(takes.needs) < 2:
        return
    names = [*(name for name in takes.names if name in takes.needs), *sorted(takes.needs - set(takes.names))]
    name = data_options.get("name")
    beside = "" if name is None else _unused(path_of(name))
    raise SzilardError(
        f"the network takes {len(names)} inputs ({listed(names)}), and the command line gives it one, the array x of "
        f"an .npz file or the columns of a table{beside}: call the network, or szilard.compress, in Python with all "
        "of them, or let --network build a module that takes one tensor"
    )


def _unused(path: Path) -> str:
    if path.suffix.lower() != ".npz":
        return ""
    with Archive(path) as archive:
        others = sorted(set(archive.headers) - _USED)
    return f" ({listed(others)} of {path.name} cannot be passed on)" if others else ""
