"""The data that a finished network was trained on."""

from __future__ import annotations

from typing import Any

from szilard import data as rooms
from szilard.data import DataSet
from szilard.errors import SzilardError


def load(stored: dict[str, Any], given: dict[str, Any], what: str) -> DataSet:
    """The data set of a network, with what was typed put over it.

    Args:
        stored: arguments of :func:`szilard.data.load` from the network's file, perhaps none.
        given: the same from the command line, None where nothing was typed.
        what: the network, for the message.

    Raises:
        SzilardError: nobody says which data, or it cannot be loaded.
    """
    typed = {key: value for key, value in given.items() if value is not None}
    if "name" in typed and typed["name"] != stored.get("name"):
        stored = {key: value for key, value in stored.items() if key == "root"}
    arguments = stored | typed
    if "name" not in arguments:
        raise SzilardError(f"{what} does not say which data it is for; add --data")
    return rooms.load(**arguments)
