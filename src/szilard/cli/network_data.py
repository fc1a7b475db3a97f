"""The data of a saved network: those of its training, or those that were typed instead."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from szilard import data as data_sets
from szilard.data import DataSet, image_range, known_classes, labels, targets
from szilard.data.column_warnings import ColumnWarning
from szilard.data.files import path_of
from szilard.data.like_training import TrainingTable
from szilard.data.loading import load_like
from szilard.data.table import listed
from szilard.errors import SzilardError, SzilardWarning
from szilard.file.error import printable
from szilard.model import trust
from szilard.model.saved_network import SavedNetwork

_MOVED = 1e-4  # standard deviations of a feature; by more, its training rows are different ones
_FLOAT32 = 2.0**-23
TABLES = (".csv", ".tsv")
_OF_TABLES = (
    "target", "task", "drop_constant", "ignore", "missing", "date", "group", "time", "decimal",
    "categorical",
)  # fmt: skip


def for_network(
    found: SavedNetwork, options: dict[str, Any], what: str, loaded: DataSet | None = None
) -> DataSet:
    """The data set of a network, normalised as in its training.

    Args:
        options: arguments of :func:`szilard.data.load` that were typed; None where one was not.
        what: the network, for messages.
        loaded: the data set, if it has been loaded for another network of the same run.

    Raises:
        SzilardError: as :func:`load`, or the network does not fit the data.
    """
    options = _without_target(found, options, what)
    like = _like(found, options, what)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColumnWarning)  # training has already warned
        data = loaded or load(found.data, options, what, trusted=found.data_trusted, like=like)
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
    check_images(data, found)
    if loaded is None and (options.get("name") is None or _same(options["name"], found.data.get("name"))):
        _warn_if_changed(data, found)
    return data.renormalised(found.shift, found.scale).retargeted(found.target_shift, found.target_scale)


def check_images(data: DataSet, found: SavedNetwork) -> None:
    """Check that the test images of a data set are in the units of the network's training images.

    Raises:
        SzilardError: as :func:`szilard.data.image_range.check`.
    """
    if data.is_image and data.input_shape == found.input_shape:
        x = data.raw(data.test.x)
        image_range.check(
            x, found.image_range, f"test images of {data.name}", of_bytes=data.image_range == image_range.UNIT
        )


def _without_target(found: SavedNetwork, options: dict[str, Any], what: str) -> dict[str, Any]:
    """The options without ``--target``, which must name the targets of training, in any order.

    Raises:
        SzilardError: other targets than those of training.
    """
    typed = options.get("target")
    if not found.targets or typed is None:
        return options
    if sorted(targets.named(typed)) != sorted(found.targets):
        raise SzilardError(
            f"{what} predicts {listed(found.targets)}, and --target names {listed(targets.named(typed))}; name the "
            "same columns, or leave --target out"
        )
    return {name: value for name, value in options.items() if name != "target"}


def _like(found: SavedNetwork, options: dict[str, Any], what: str) -> TrainingTable | None:
    """How to read another table than that of training; None if there is no other table."""
    name = options.get("name")
    if name is None or _same(name, found.data.get("name")) or Path(str(name)).suffix.lower() not in TABLES:
        return None
    if found.reading is None:
        return None
    return TrainingTable(
        what, found.task, found.classes, found.reading, found.shift, found.scale, found.target_shift,
        found.target_scale, found.targets,
    )  # fmt: skip


def _same(typed: str, stored: str | None) -> bool:
    """Whether two names are those of one file, or of one data set."""
    if stored is None or typed == stored:
        return typed == stored
    files = path_of(typed), path_of(stored)
    return files[0].is_file() and files[1].is_file() and files[0].samefile(files[1])


def _relabelled(data: DataSet, found: SavedNetwork, what: str) -> DataSet:
    """Classes with the numbers of the network, found by name; the data need not have all of them.

    Raises:
        SzilardError: a class that the network does not know.
    """
    data, strange = known_classes.numbered(data, found.classes)
    if strange:
        raise labels.unknown(data.name, strange, found.classes, what)
    return data


def _as_trained(data: DataSet, found: SavedNetwork, what: str) -> DataSet:
    """A table with its features in the order of training, found by name.

    Raises:
        SzilardError: its features are not those of training.
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
                f"{data.name} does not have the features that {what} was trained on: it "
                f"{' and '.join(filter(None, sides))}; name other --data"
            )
        data = data.reordered(known)
    return data


def _warn_if_changed(data: DataSet, found: SavedNetwork) -> None:
    """Warn where the split of a table differs from that in training, as mean and deviation of the features show."""
    if (
        not data.feature_names
        or found.shift.shape != data.shift.shape
        or Path(data.name).suffix.lower() not in TABLES
    ):
        return
    rounded = _FLOAT32 * found.shift.abs()  # files of earlier versions hold float32
    moved = (
        (((data.shift - found.shift).abs() - rounded) / found.scale).max(),
        (data.scale / found.scale - 1).abs().max(),
    )
    if max(map(float, moved)) > _MOVED:
        warnings.warn(
            f"{data.name} has changed since training, so that its rows are split in another way; its test split may "
            "hold rows that the network was trained on, and its figures may be too good",
            SzilardWarning,
            stacklevel=2,
        )


def load(
    stored: dict[str, Any],
    options: dict[str, Any],
    what: str,
    *,
    trusted: bool = False,
    like: TrainingTable | None = None,
) -> DataSet:
    """The data set of a network.

    Args:
        stored: arguments of :func:`szilard.data.load` from the network's file, perhaps none.
        options: the same as typed, which take precedence; None where one was not typed.
        what: the network, for messages.
        trusted: whether paths in ``stored`` may be followed; a path that was typed always is.
        like: how to read another table than that of training.

    Raises:
        SzilardError: the data are unknown, they cannot be loaded, or only a file that is not trusted says where they
            are.
    """
    typed = {key: value for key, value in options.items() if value is not None}
    if "name" in typed and not _same(typed["name"], stored.get("name")):
        # Another table is read like that of training: the same columns are left out, missing cells are treated alike.
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
            f"{what} names {printable(foreign[0])} as its data, and your own szilard did not write that name; "
            "add --trust if you trust it, or name the data with --data and their folder with --data-root"
        )
    return data_sets.load(**arguments) if like is None else load_like(like, **arguments)
