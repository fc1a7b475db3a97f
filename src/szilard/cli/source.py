"""The data that a finished network was trained on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from szilard import data as rooms
from szilard.data import DataSet
from szilard.data.suspects import Suspicion
from szilard.data.table import listed
from szilard.errors import SzilardError, SzilardWarning
from szilard.file.error import printable
from szilard.model import trust
from szilard.model.finished import Finished

_MOVED = 1e-4  # deviations of a feature, beyond which its training rows are others
TABLES = (".csv", ".tsv")
_OF_TABLES = (
    "target", "task", "drop_constant", "ignore", "missing", "date", "group", "time", "decimal",
    "categorical",
)  # fmt: skip


def for_network(found: Finished, given: dict[str, Any], what: str, loaded: DataSet | None = None) -> DataSet:
    """The data set of a network, normalised as it was in its training, with what was typed put over it.

    Args:
        loaded: the set, if it has been loaded for another network of the same run.

    Raises:
        SzilardError: as :func:`load`, or the network is for something else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Suspicion)  # said in training
        data = loaded or load(found.data, given, what, trusted=found.data_trusted)
    data = _as_trained(data, found, what)
    if (data.task, data.input_shape, data.n_outputs) != (found.task, found.input_shape, found.n_outputs):
        raise SzilardError(
            f"{what} was trained for {found.task} of inputs {list(found.input_shape)} with {found.n_outputs} "
            f"outputs, and {data.name} is {data.task} of {list(data.input_shape)} with {data.n_outputs}; "
            "name other --data"
        )
    if found.classes and found.classes != data.classes:
        raise SzilardError(
            f"{what} was trained on the classes {listed(found.classes)}, and {data.name} has {listed(data.classes)}; "
            "name other --data"
        )
    if loaded is None and given.get("name") in (None, found.data.get("name")):
        _warn_if_changed(data, found)
    return data.renormalised(found.shift, found.scale).retargeted(found.target_shift, found.target_scale)


def _as_trained(data: DataSet, found: Finished, what: str) -> DataSet:
    """A table with its features in the order of training, found by name.

    Raises:
        SzilardError: other features than those of training.
    """
    known, there = found.feature_names, data.feature_names
    if known and there and len(set(there)) == len(there):
        lacking = [name for name in known if name not in there]
        more = [name for name in there if name not in known]
        if lacking or more:
            sides = [
                f"lacks {listed(lacking)}" if lacking else "",
                f"has {listed(more)} more" if more else "",
            ]
            raise SzilardError(
                f"{data.name} has other features than {what} was trained on: it {' and '.join(filter(None, sides))}; "
                "name other --data"
            )
        data = data.reordered(known)
    return data


def _warn_if_changed(data: DataSet, found: Finished) -> None:
    """Warn where the rows of a table are divided otherwise than in training, by the moments of its training part."""
    if (
        not data.feature_names
        or found.shift.shape != data.shift.shape
        or Path(data.name).suffix.lower() not in TABLES
    ):
        return
    moved = ((data.shift - found.shift) / found.scale).abs().max(), (data.scale / found.scale - 1).abs().max()
    if max(map(float, moved)) > _MOVED:
        warnings.warn(
            f"{data.name} has changed since training, so that its rows are divided otherwise; its test part may hold "
            "rows that the network was trained on, and its figures may be too good",
            SzilardWarning,
            stacklevel=2,
        )


def load(stored: dict[str, Any], given: dict[str, Any], what: str, *, trusted: bool = False) -> DataSet:
    """The data set of a network, with what was typed put over it.

    Args:
        stored: arguments of :func:`szilard.data.load` from the network's file, perhaps none.
        given: the same from the command line, None where nothing was typed.
        what: the network, for the message.
        trusted: whether paths in ``stored`` may be followed; a path that was typed always is.

    Raises:
        SzilardError: nobody says which data, they cannot be loaded, or only a file that is not trusted says where they
            are.
    """
    typed = {key: value for key, value in given.items() if value is not None}
    if "name" in typed and typed["name"] != stored.get("name"):
        # Another table is read as that of training was: which columns count, what becomes of missing cells.
        both = all(Path(str(name)).suffix.lower() in TABLES for name in (typed["name"], stored.get("name")))
        stored = {
            key: value for key, value in stored.items() if key == "root" or (both and key in _OF_TABLES)
        }
    arguments = stored | typed
    if "name" not in arguments:
        raise SzilardError(f"{what} does not say which data it is for; add --data")
    foreign = [path for key, path in trust.data_paths(arguments).items() if key not in typed]
    if foreign and not trusted:
        raise SzilardError(
            f"{what} names {printable(foreign[0])} as its data, and this user's own szilard has not written that; "
            "add --trust if you trust it, or name the data with --data and their folder with --data-root"
        )
    return rooms.load(**arguments)
