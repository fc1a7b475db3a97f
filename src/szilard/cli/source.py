"""The data that a finished network was trained on."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from szilard import data as rooms
from szilard.data import DataSet, Split, labels, targets
from szilard.data.again import Like
from szilard.data.files import path_of
from szilard.data.loading import load_like
from szilard.data.suspects import Suspicion
from szilard.data.table import listed
from szilard.errors import SzilardError, SzilardWarning
from szilard.file.error import printable
from szilard.model import trust
from szilard.model.saved_network import SavedNetwork

_MOVED = 1e-4  # deviations of a feature, beyond which its training rows are others
TABLES = (".csv", ".tsv")
_OF_TABLES = (
    "target", "task", "drop_constant", "ignore", "missing", "date", "group", "time", "decimal",
    "categorical",
)  # fmt: skip


def for_network(
    found: SavedNetwork, given: dict[str, Any], what: str, loaded: DataSet | None = None
) -> DataSet:
    """The data set of a network, normalised as it was in its training, with what was typed put over it.

    Args:
        loaded: the set, if it has been loaded for another network of the same run.

    Raises:
        SzilardError: as :func:`load`, or the network is for something else.
    """
    given = _in_order(found, given, what)
    like = _like(found, given, what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Suspicion)  # said in training
        data = loaded or load(found.data, given, what, trusted=found.data_trusted, like=like)
    if like is not None:
        return data
    data = _as_trained(data, found, what)
    if (data.task, data.input_shape) == (found.task, found.input_shape):
        data = _relabelled(data, found, what)
    if (data.task, data.input_shape, data.n_outputs) != (found.task, found.input_shape, found.n_outputs):
        raise SzilardError(
            f"{what} was trained for {found.task} of inputs {list(found.input_shape)} with {found.n_outputs} "
            f"outputs, and {data.name} is {data.task} of {list(data.input_shape)} with {data.n_outputs}; "
            "name other --data"
        )
    if loaded is None and (given.get("name") is None or _same(given["name"], found.data.get("name"))):
        _warn_if_changed(data, found)
    return data.renormalised(found.shift, found.scale).retargeted(found.target_shift, found.target_scale)


def _in_order(found: SavedNetwork, given: dict[str, Any], what: str) -> dict[str, Any]:
    """What was typed, with several targets in the order of training, in whatever order they were named.

    Raises:
        SzilardError: other targets than those of training.
    """
    typed = given.get("target")
    if not found.targets or typed is None:
        return given
    if sorted(targets.named(typed)) != sorted(found.targets):
        raise SzilardError(
            f"{what} predicts {listed(found.targets)}, and --target names {listed(targets.named(typed))}; name the "
            "same columns, or leave --target out"
        )
    return {name: value for name, value in given.items() if name != "target"}


def _like(found: SavedNetwork, given: dict[str, Any], what: str) -> Like | None:
    """What another table than that of training is read by, or None where it is no other, or no table."""
    name = given.get("name")
    if name is None or _same(name, found.data.get("name")) or Path(str(name)).suffix.lower() not in TABLES:
        return None
    if found.reading is None:
        return None
    return Like(
        what, found.task, found.classes, found.reading, found.shift, found.scale, found.target_shift,
        found.target_scale, found.targets,
    )  # fmt: skip


def _same(typed: str, stored: str | None) -> bool:
    """Whether two names are those of one file, or of one set."""
    if stored is None or typed == stored:
        return typed == stored
    files = path_of(typed), path_of(stored)
    return files[0].is_file() and files[1].is_file() and files[0].samefile(files[1])


def _relabelled(data: DataSet, found: SavedNetwork, what: str) -> DataSet:
    """Classes by the network's numbers, found by name; those that the data lack are no fault.

    Raises:
        SzilardError: a class that the network does not know.
    """
    if not found.classes or data.classes == found.classes:
        return data
    places = labels.places(data.classes, found.classes)
    strange = [name for name, place in zip(data.classes, places, strict=True) if place is None]
    if strange:
        raise labels.unknown(data.name, strange, found.classes, what)
    number = torch.tensor([place for place in places if place is not None])

    def again(split: Split) -> Split:
        y = split.y.long()
        return Split(split.x, torch.where(y >= 0, number[y.clamp_min(0)], y))

    train, valid, test = again(data.train), again(data.valid), again(data.test)
    return replace(data, train=train, valid=valid, test=test, classes=found.classes)


def _as_trained(data: DataSet, found: SavedNetwork, what: str) -> DataSet:
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


def _warn_if_changed(data: DataSet, found: SavedNetwork) -> None:
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


def load(
    stored: dict[str, Any],
    given: dict[str, Any],
    what: str,
    *,
    trusted: bool = False,
    like: Like | None = None,
) -> DataSet:
    """The data set of a network, with what was typed put over it.

    Args:
        stored: arguments of :func:`szilard.data.load` from the network's file, perhaps none.
        given: the same from the command line, None where nothing was typed.
        what: the network, for the message.
        trusted: whether paths in ``stored`` may be followed; a path that was typed always is.
        like: what another table is read by.

    Raises:
        SzilardError: nobody says which data, they cannot be loaded, or only a file that is not trusted says where they
            are.
    """
    typed = {key: value for key, value in given.items() if value is not None}
    if "name" in typed and not _same(typed["name"], stored.get("name")):
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
    return rooms.load(**arguments) if like is None else load_like(like, **arguments)
