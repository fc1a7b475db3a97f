"""A network that szilard has saved, as commands load it."""

from __future__ import annotations

from pathlib import Path

from szilard.cli.request import Request, Tell
from szilard.errors import SzilardError
from szilard.model import saved_network
from szilard.model.saved_network import SavedNetwork


def saved_network_of(file: Path, request: Request, tell: Tell) -> SavedNetwork:
    """The network in a file, built as the request says.

    Raises:
        SzilardError: it cannot be loaded, or ``--task`` is another than the network's.
    """
    found = saved_network.load(file, request.spec, trusted=request.trusted, tell=tell)
    if request.task not in (None, found.task):
        raise SzilardError(f"--task is {request.task}, and {file} is for {found.task}; leave --task out")
    return found
