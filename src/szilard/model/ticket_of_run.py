"""The lottery ticket in the folder of a run: the entries that were found, and the values of the rewind step."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from szilard.errors import SzilardError
from szilard.file.error import SzilardFileError
from szilard.methods import Method
from szilard.model import checkpoint, saved_network
from szilard.networks import WithNoise
from szilard.topology import Ticket
from szilard.topology.rewind import like

_METHODS = ("tickets", "posterior-tickets")


def give(method: Method) -> None:
    """Read the ticket of a method that names the folder of one.

    Raises:
        SzilardError: as :func:`read`.
    """
    path = getattr(method, "ticket", None)
    if isinstance(path, str) and path:
        method.found = read(Path(path))  # type: ignore[attr-defined]


def read(path: Path) -> Ticket:
    """The ticket that a finished run of ``tickets`` has found.

    Args:
        path: the run folder, or the folder of the method in it.

    Raises:
        SzilardError: there is no finished run of ``tickets``, or a file in it is damaged.
    """
    path = path.expanduser()
    folders = [
        folder for folder in (path, *(path / name for name in _METHODS)) if (folder / "network.pt").is_file()
    ]
    if not folders:
        raise SzilardError(
            f"{path} holds no lottery ticket; name the folder of a finished run of szilard fit --method tickets"
        )
    saved = saved_network.load(folders[0] / "network.pt")
    if saved.method.name not in _METHODS:
        raise SzilardError(
            f"{path} holds a run of {saved.method.name}, which finds no lottery ticket; name a run of --method tickets"
        )
    network = saved.network
    stored = folders[0] / "checkpoint.pt"
    with checkpoint.reading(stored, "checkpoint"):
        kept = checkpoint.load(stored, "checkpoint")["processes"][0]["method"]["rewind"]
    expected = like(network)
    known = isinstance(kept, dict) and set(kept) == set(expected)
    if not known or not all(_fits(kept[name], expected[name]) for name in expected):
        raise SzilardFileError(
            f"the rewound values in {stored} are not those of the network beside it; train the ticket again"
        )
    if isinstance(network, WithNoise):  # the target gets its own
        network = network.network
        kept = {name.removeprefix("network."): value for name, value in kept.items() if name != "log_noise"}
    indices = {
        name: value
        for name, value in network.state_dict().items()
        if name.rpartition(".")[0].endswith("support")
    }
    return Ticket(network, {**kept, **indices})


def _fits(value: object, expected: Tensor) -> bool:
    """Whether it is a tensor of this shape and type, without NaN and infinite values."""
    return (
        isinstance(value, Tensor)
        and (value.shape, value.dtype) == (expected.shape, expected.dtype)
        and (not value.is_floating_point() or bool(torch.isfinite(value).all()))
    )
