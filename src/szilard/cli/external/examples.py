"""Labelled examples as they are in a user's file: tokens, sequences, several labels, several targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from szilard.data import targets
from szilard.data.check import finite, no_label_255, same_length
from szilard.data.files import path_of
from szilard.data.npz import Archive, Header, read_npz, to_tensor
from szilard.data.splits import split_indices
from szilard.data.table import Table, listed
from szilard.data.table_reading import read_table
from szilard.errors import SzilardError, shortened
from szilard.likelihood.targets import of_task

_FRACTIONS = (0.15, 0.15)
_TABLES = (".csv", ".tsv")
CHANNELS = (1, 3, 4)  #: numbers of channels that an image may have


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs ``[N, ...]``, integers where the file has integers, and labels ``[N, ...]``."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Examples:
    """Train, validation and test split, made as :mod:`szilard.data` makes them.

    Attributes:
        outputs: names of the label columns, or of the classes; empty where there are no names.
        columns: names of the input columns of a table; empty for arrays.
        moved: images are ``[N, H, W, C]`` in the file and ``[N, C, H, W]`` here.
        channels_last: images are ``[N, H, W, C]`` here.
        moved_from_first: and ``[N, C, H, W]`` in the file.
    """

    name: str
    train: Part
    valid: Part
    test: Part
    outputs: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    moved: bool = False
    channels_last: bool = False
    moved_from_first: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.x.shape[1:])

    @property
    def n_outputs(self) -> int:
        """The number of outputs that a network needs: one for each label or class."""
        y = self.train.y
        if y.dim() == 2 and y.is_floating_point():
            return y.shape[1]
        if y.dim() == 2:
            return y.shape[1] if int(y.max()) <= 1 else 1 + int(y.max())
        return 1 if y.is_floating_point() else 1 + max(int(part.y.max()) for part in self.parts)

    def in_other_order(self) -> Examples | None:
        """The same images with channels last instead of first, or the reverse; None where there are no images."""
        shape = self.input_shape
        if len(shape) != 3:
            return None
        last = shape[0] in CHANNELS  # channels go to the end
        if not last and shape[2] not in CHANNELS:
            return None
        source, goal = (1, 3) if last else (3, 1)
        parts = [Part(part.x.movedim(source, goal).contiguous(), part.y) for part in self.parts]
        train, valid, test = parts
        return replace(
            self, train=train, valid=valid, test=test,
            moved=not last, channels_last=last, moved_from_first=last and not self.moved,
        )  # fmt: skip

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        return self.train, self.valid, self.test


def are_needed(data_options: dict[str, Any], task: str | None) -> bool:
    """Whether the data are such that no :class:`szilard.data.DataSet` can hold them.

    Args:
        data_options: of :class:`szilard.cli.request.Request`.
    """
    if data_options.get("name") is None:
        return False
    path = path_of(data_options["name"])
    in_columns = task is not None and of_task(task).in_columns
    if path.suffix.lower() in _TABLES:
        return in_columns or _several(path, data_options.get("target"))
    if path.suffix.lower() != ".npz":
        return False
    shapes = _shapes(path)
    y = next((shapes[key] for key in ("y", "y_train") if key in shapes), None)
    if in_columns:
        return True
    x = next((shapes[key] for key in ("x", "x_train") if key in shapes), None)
    columns = y is not None and len(y[0]) > 1 and tuple(y[0][1:]) != (1,)
    return columns or (x is not None and len(x[0]) not in (2, 3, 4))


def are_ambiguous(data_options: dict[str, Any]) -> bool:
    """Whether inputs may be images or features, but also tokens or sequences, so that the network decides."""
    if data_options.get("name") is None or path_of(data_options["name"]).suffix.lower() != ".npz":
        return False
    shapes = _shapes(path_of(data_options["name"]))
    x = next((shapes[key] for key in ("x", "x_train") if key in shapes), None)
    return x is not None and (len(x[0]) == 3 or x[1] in "iu" or _may_be_images(x[0]))


def _may_be_images(shape: tuple[int, ...]) -> bool:
    """Whether an array may hold images, with channels first or last."""
    return len(shape) == 4 and (shape[1] in CHANNELS or shape[3] in CHANNELS)


def _shapes(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and kind of the arrays in an archive; bytes have the kind B, since they are pixels rather than integers."""
    with Archive(path) as archive:
        return {
            name: (tuple(header.shape), "B" if header.dtype == np.uint8 else header.dtype.kind)
            for name, header in archive.headers.items()
            if isinstance(header, Header)
        }


def _several(path: Path, target: str | None) -> bool:
    return target is not None and "," in target and len(targets.chosen(read_table(path), target)) > 1


def read(data_options: dict[str, Any]) -> Examples:
    """The examples of a file.

    Raises:
        SzilardError: arrays or columns are missing, of a wrong shape, or not finite.
    """
    path = path_of(data_options["name"])
    seed = data_options.get("seed") or 0
    names: tuple[str, ...]
    if path.suffix.lower() in _TABLES:
        x, y, names, columns = _of_table(read_table(path), data_options.get("target"))
        return replace(_split(path.name, x, y, names, seed), columns=columns)
    arrays = read_npz(path)
    parts = [part for part in ("train", "valid", "test") if f"x_{part}" in arrays]
    suffixes = [f"_{part}" for part in parts] or [""]
    absent = [key for suffix in suffixes for key in (f"x{suffix}", f"y{suffix}") if key not in arrays]
    if absent or (parts and "test" not in parts):
        raise SzilardError(
            f"{path} has no array {absent[0] if absent else 'x_test'} beside {listed(sorted(arrays)) or 'no others'}; "
            "add it"
        )
    names = ()
    found = {}
    moved = False
    if all(arrays[f"y{suffix}"].dtype.kind == "U" for suffix in suffixes):
        known = np.unique(np.concatenate([arrays[f"y{suffix}"].ravel() for suffix in suffixes]))
        names = tuple(map(str, known))
        for suffix in suffixes:
            arrays[f"y{suffix}"] = np.searchsorted(known, arrays[f"y{suffix}"])
    for suffix in suffixes:
        x = inputs(arrays[f"x{suffix}"], f"x{suffix} of {path}")
        y = _labels(arrays[f"y{suffix}"], f"y{suffix} of {path}")
        same_length(x, y, f"x{suffix} and y{suffix} of {path}")
        found[suffix] = Part(x, y)
        moved = x.dim() == 4 and arrays[f"x{suffix}"].ndim == 4 and x.shape != arrays[f"x{suffix}"].shape
    if "" in found:
        split = _split(path.name, found[""].x, found[""].y, names, seed)
    elif "_valid" in found:
        split = Examples(path.name, found["_train"], found["_valid"], found["_test"], names)
    else:
        train = found["_train"]
        first, second = (Part(train.x[i], train.y[i]) for i in _indices(train.y, _FRACTIONS[:1], seed))
        split = Examples(path.name, first, second, found["_test"], names)
    shape = split.input_shape
    last = len(shape) == 3 and not moved and shape[0] not in CHANNELS and shape[2] in CHANNELS
    return replace(split, moved=moved, channels_last=last)


def _split(name: str, x: Tensor, y: Tensor, names: tuple[str, ...], seed: int) -> Examples:
    train, valid, test = (Part(x[i], y[i]) for i in _indices(y, _FRACTIONS, seed))
    return Examples(name, train, valid, test, names)


def _indices(y: Tensor, fractions: tuple[float, ...], seed: int) -> list[Tensor]:
    classes = y.dim() == 1 and not y.is_floating_point()
    return split_indices(y if y.dim() == 1 else torch.zeros(len(y)), fractions, seed, stratify=classes)


def inputs(array: np.ndarray, what: str) -> Tensor:
    """Inputs of a network: float64 columns; int64 tokens; all else float32, and images of bytes are in [0, 1].

    Raises:
        SzilardError: no numbers, not finite, or a single number for each example.
    """
    x = to_tensor(array, what)
    finite(x, what)
    if x.dim() < 2 or 0 in x.shape[1:]:
        raise SzilardError(f"{what} has shape {list(x.shape)}; its first dimension is that of the examples")
    if x.dim() == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.movedim(3, 1).contiguous()
    if x.dtype == torch.uint8:
        if x.dim() == 2:
            return x.long()
        return (x.unsqueeze(1) if x.dim() == 3 else x).float() / 255
    if not x.is_floating_point():
        return x
    return x.double() if x.dim() == 2 else x.float()


def _labels(array: np.ndarray, what: str) -> Tensor:
    y = to_tensor(array, what)
    finite(y, what)
    if y.dim() == 0:
        raise SzilardError(f"{what} is one number; give one label for each input")
    if y.is_floating_point():
        return y.double()
    no_label_255(y, what)
    return y.long()


def _of_table(table: Table, target: str | None) -> tuple[Tensor, Tensor, tuple[str, ...], tuple[str, ...]]:
    """Features, labels, the names of the labels, and those of the features."""
    if target is None:
        raise SzilardError(
            f"name the columns of {table.path} to predict with --target, separated by commas; it has "
            f"{listed(table.names)}"
        )
    chosen = targets.chosen(table, target)
    rest = [column for column in range(len(table.names)) if column not in chosen]
    if not rest:
        raise SzilardError(f"{table.path} has only the columns to predict; add columns to predict them from")
    columns = tuple(table.names[column] for column in rest)
    x = features(table, columns)
    labels = [targets.numbers(table, column) for column in chosen]
    y = torch.from_numpy(np.stack(labels, 1))
    whole = bool((y == y.round()).all())
    return x, y.long() if whole else y, tuple(table.names[column] for column in chosen), columns


def features(table: Table, names: Sequence[str]) -> Tensor:
    """Columns of numbers as ``[N, D]`` float64.

    Raises:
        SzilardError: a column is missing, or holds text.
    """
    columns = []
    for name in names:
        if name not in table.names:
            raise SzilardError(
                f"{table.path} has no column {shortened(name, 60)!r}, which the network takes; it has "
                f"{listed(table.names)}"
            )
        number = table.names.index(name)
        if table.is_text(number):
            raise SzilardError(
                f"column {shortened(name, 60)!r} of {table.path} is text; turn it into numbers that the network "
                "takes"
            )
        columns.append(table.numbers(number))
    return torch.from_numpy(np.stack(columns, 1))
