"""Read your own arrays: images or features in an npz archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard.data import image_range
from szilard.data.check import finite, same_length
from szilard.data.dataset import Split
from szilard.data.files import path_of
from szilard.data.npz import read_npz, to_tensor
from szilard.data.raw import Raw, Request
from szilard.data.splits import split_indices, subset
from szilard.data.table import listed
from szilard.data.target_readers import CLASSES, LABELS, QUANTITIES, TargetReader, reader_of
from szilard.errors import SzilardError
from szilard.likelihood.targets import DataTargets

FRACTIONS = (0.15, 0.15)


def read_npz_file(request: Request) -> Raw:
    """Read the arrays ``x, y``, or ``x_train, y_train, x_test, y_test``.

    ``x_valid, y_valid`` and ``x_ood`` are optional. ``x, y`` are split 70/15/15 % by seed; without ``x_valid``, 15 % of
    the training arrays become the validation set.

    * ``x [N, D]`` are features; ``[N, H, W]`` are grey images; ``[N, C, H, W]`` or ``[N, H, W, C]`` with one or three
      channels are images. Bytes are divided by 255, other numbers are taken as they are; images of the validation and
      test part must have the units of the training part (:mod:`szilard.data.image_range`).
    * ``y [N, H, W]`` of integers, with images of that size, has a class for each pixel; -100 means no label.
    * ``y [N, k]`` of 0 and 1 are k binary labels; other floats are k quantities.
    * ``y`` of integers, booleans or strings means classification, of floats regression; ``task`` overrides this.
      Integers are class numbers from 0; strings are sorted.
    """
    path = path_of(request.name)
    arrays = read_npz(path)
    parts = [part for part in ("train", "valid", "test") if f"x_{part}" in arrays]
    if not parts and not {"x", "y"} <= arrays.keys():
        raise SzilardError(
            f"{path} has {listed(sorted(arrays)) or 'no arrays'}; it needs the arrays x and y, "
            "or x_train, y_train, x_test and y_test"
        )
    suffixes = [f"_{part}" for part in parts] or [""]
    wanted = [f"{letter}{suffix}" for suffix in suffixes for letter in "xy"]
    needed = [*wanted, "x_train", "x_test"] if parts else wanted
    absent = next((key for key in needed if key not in arrays), None)
    if absent:
        raise SzilardError(f"{path} has no array {absent}, only {listed(sorted(arrays))}; add it")
    xs = [_inputs(arrays[f"x{suffix}"], f"x{suffix} of {path}") for suffix in suffixes]
    given_ys = [arrays[f"y{suffix}"] for suffix in suffixes]
    target_type, ys, classes = _targets(given_ys, request.target_type, suffixes, path)
    for x, y, suffix in zip(xs, ys, suffixes, strict=True):
        same_length(x, y, f"x{suffix} and y{suffix} of {path}")
        if x.shape[1:] != xs[0].shape[1:]:
            raise SzilardError(
                f"x{suffix} of {path} has shape {list(x.shape)}, unlike x_train {list(xs[0].shape)}"
            )
    for x, y, suffix in zip(xs, ys, suffixes, strict=True):
        if y.dim() > 2 and y.shape[1:] != x.shape[2:]:
            raise SzilardError(
                f"y{suffix} of {path} has a class for each of {list(y.shape[1:])} pixels, and the inputs have shape "
                f"{list(x.shape[1:])}; give y of shape [N, H, W] with images of that size, or [N]"
            )
    single = target_type.has_classes and ys[0].dim() == 1
    targets = tuple(f"y{i}" for i in range(ys[0].shape[1])) if ys[0].dim() == 2 else ()
    given = dict(zip(suffixes, map(Split, xs, ys), strict=True))
    train, valid, test = _parts(given, request.seed, stratify=single)
    index = subset(train.y, request.n_train, request.seed, balanced=single)
    train = Split(train.x[index], train.y[index])
    ood = _inputs(arrays["x_ood"], f"x_ood of {path}") if "x_ood" in arrays else None
    if ood is not None and ood.shape[1:] != train.x.shape[1:]:
        raise SzilardError(
            f"x_ood of {path} has shape {list(ood.shape)}, unlike the inputs {list(train.x.shape)}"
        )
    known = image_range.UNIT
    if train.x.dim() == 4:
        known = image_range.range_of(train.x)
        for part, split in (("valid", valid), ("test", test)):
            bytes_ = split.x.dtype == torch.uint8
            x = split.x.float() / 255 if bytes_ else split.x
            image_range.check(x, known, f"images of the {part} part of {path}", of_bytes=bytes_)
    return Raw(
        task=target_type.name,
        train=train,
        valid=valid,
        test=test,
        classes=classes,
        targets=targets,
        feature_names=tuple(f"x{i}" for i in range(train.x.shape[1])) if train.x.dim() == 2 else (),
        ood=ood,
        image_range=known,
        ood_name=None if ood is None else "x_ood",
    )


def _parts(given: dict[str, Split], seed: int, *, stratify: bool) -> tuple[Split, Split, Split]:
    def take(split: Split, index: Tensor) -> Split:
        return Split(split.x[index], split.y[index])

    if "" in given:
        train, valid, test = (
            take(given[""], i) for i in split_indices(given[""].y, FRACTIONS, seed, stratify=stratify)
        )
        return train, valid, test
    if "_valid" in given:
        return given["_train"], given["_valid"], given["_test"]
    whole = given["_train"]
    train, valid = (take(whole, i) for i in split_indices(whole.y, FRACTIONS[:1], seed, stratify=stratify))
    return train, valid, given["_test"]


def _inputs(array: np.ndarray, what: str) -> Tensor:
    x = to_tensor(array, what)
    x = x.double() if x.dtype == torch.int64 else x
    finite(x, what)
    if x.dim() > 2 and x.is_floating_point():
        x = x.float()
    if x.dim() == 3:
        x = x.unsqueeze(1)
    elif x.dim() == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.movedim(3, 1).contiguous()
    if x.dim() not in (2, 4) or 0 in x.shape[1:]:
        raise SzilardError(
            f"{what} has shape {list(array.shape)}; inputs are features [N, D], grey images [N, H, W] "
            "or images [N, C, H, W]"
        )
    return x


def _targets(
    arrays: list[np.ndarray], asked: DataTargets | None, suffixes: list[str], path: Path
) -> tuple[DataTargets, list[Tensor], tuple[str, ...]]:
    """Type of the targets, targets of each part, and names of the classes.

    Args:
        asked: the type given by the user; None to infer it.
    """
    names = [f"y{suffix} of {path}" for suffix in suffixes]
    if (all(array.ndim == 2 for array in arrays) and arrays[0].shape[1] > 1) or (asked and asked.in_columns):
        return *_several(arrays, asked, names, path), ()
    arrays = [array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array for array in arrays]
    for array, name in zip(arrays, names, strict=True):
        by_position = array.ndim == 3 and array.dtype.kind in "iu" and (asked is None or asked.has_classes)
        if array.ndim != 1 and not by_position:
            raise SzilardError(
                f"{name} has shape {list(array.shape)}; it must be [N], [N, k] for "
                "labels or targets, or [N, H, W] of class numbers for images"
            )
    reader = _inferred(arrays) if asked is None else reader_of(asked)
    ys, classes = reader.of_arrays(arrays, names, path)
    return reader.target_type, ys, classes


def _inferred(arrays: list[np.ndarray]) -> TargetReader:
    """Text and whole numbers are classes, other numbers are quantities."""
    text = all(array.dtype.kind == "U" for array in arrays)
    return CLASSES if text or all(array.dtype.kind in "iub" for array in arrays) else QUANTITIES


def _several(
    arrays: list[np.ndarray], asked: DataTargets | None, names: list[str], path: Path
) -> tuple[DataTargets, list[Tensor]]:
    """Binary labels int64 ``[N, k]``, or quantities float64 ``[N, k]``."""
    found = []
    arrays = [array[:, None] if array.ndim == 1 else array for array in arrays]
    for array, name in zip(arrays, names, strict=True):
        if array.ndim != 2 or array.shape[1] != arrays[0].shape[1]:
            raise SzilardError(
                f"{name} has shape {list(array.shape)}; labels and targets are [N, k], with the same k in every part"
            )
        if array.dtype.kind not in "iufb":
            raise SzilardError(f"{name} is not an array of numbers; give 0 or 1 for labels, or quantities")
        y = to_tensor(array, name)
        finite(y, name)
        found.append(y)
    reader = _inferred_from_columns(found, path) if asked is None else reader_of(asked)
    return reader.target_type, reader.of_matrices(found, path)


def _inferred_from_columns(matrices: list[Tensor], path: Path) -> TargetReader:
    """Zeros and ones are labels, other numbers that are not whole are quantities."""
    if all(bool(((y == 0) | (y == 1)).all()) for y in matrices):
        return LABELS
    if not all(y.is_floating_point() for y in matrices):
        raise SzilardError(
            f"y of {path} has {matrices[0].shape[1]} columns of whole numbers other than 0 and 1; use "
            "task='regression' if they are quantities, or give one class number per example"
        )
    return QUANTITIES
