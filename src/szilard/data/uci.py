"""UCI regression sets with the train/test splits of the literature (Hernández-Lobato & Adams 2015)."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard import bounded
from szilard.data import limits
from szilard.data.check import finite
from szilard.data.dataset import Split
from szilard.data.files import candidates, missing
from szilard.data.raw import Raw, Request
from szilard.data.splits import split_indices, subset
from szilard.errors import SzilardError, shortened

SETS = {
    "concrete": "compressive strength of concrete, 1030 x 8",
    "energy": "heating load of buildings, 768 x 8",
    "power-plant": "output of a power plant, 9568 x 4",
    "wine-quality-red": "quality scores of red wines, 1599 x 11",
    "yacht": "resistance of yachts, 308 x 6",
}
VALID_FRACTION = 0.1
_BYTES_A_BYTE = 8  # of memory per byte of the file


def read_uci(request: Request) -> Raw:
    """The published training and test rows of split K; 10 % of the training rows, by seed, become the validation set.

    Files: ``data.txt``, ``index_features.txt``, ``index_target.txt``, ``index_train_K.txt`` and
    ``index_test_K.txt``.
    """
    folder = _folder(request)
    data = _numbers(folder, "data.txt", request.name, columns=True)
    finite(data, f"data.txt of {request.name}")
    features = _index(folder, "index_features.txt", request.name, data.shape[1])
    target = _index(folder, "index_target.txt", request.name, data.shape[1])
    whole, test = (
        _index(folder, f"index_{part}_{_known_split(folder, request)}.txt", request.name, len(data))
        for part in ("train", "test")
    )
    if len(target) != 1 or bool(torch.isin(features, target).any()):
        raise SzilardError(
            f"index_target.txt in {folder} must name one column that is not a feature; check the files"
        )
    if bool(torch.isin(whole, test).any()):
        raise SzilardError(
            f"training and test rows of split {request.split} in {folder} overlap; check the files"
        )
    x, y = data[:, features], data[:, target[0]]
    train, valid = (
        whole[part] for part in split_indices(y[whole], (VALID_FRACTION,), request.seed, stratify=False)
    )
    train = train[subset(y[train], request.n_train, request.seed, balanced=False)]
    return Raw(
        task="regression",
        train=Split(x[train], y[train]),
        valid=Split(x[valid], y[valid]),
        test=Split(x[test], y[test]),
        feature_names=tuple(f"x{i}" for i in features.tolist()),
    )


def _folder(request: Request) -> Path:
    folders = [folder / request.name for folder in candidates(request.root, ["uci"], itself=False)]
    folders += candidates(request.root, [request.name], itself=True)
    for folder in folders:
        if os.path.isfile(folder / "data.txt"):
            return folder
    raise missing(request.name, folders[0], "data.txt")


def _known_split(folder: Path, request: Request) -> int:
    known = sorted(
        int(p.stem.rsplit("_", 1)[1]) for p in folder.glob("index_train_*.txt") if p.stem[12:].isdecimal()
    )
    if known and request.split not in known:
        raise SzilardError(
            f"split {request.split} of {request.name} is not in {folder}; choose {known[0]} to {known[-1]}"
        )
    return request.split


def _numbers(folder: Path, file: str, name: str, *, columns: bool) -> Tensor:
    path = folder / file
    if not os.path.isfile(path):
        raise missing(name, folder, file)
    opened, size = bounded.open_file(path, "check the file")
    with opened:
        limits.check(path, _BYTES_A_BYTE * size, size)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about an empty file, which is an error below
                values = np.loadtxt(opened, dtype=np.float64, ndmin=2 if columns else 1)
        except (
            ValueError,
            OSError,
        ) as error:  # ValueError: a cell that is not a number, or text that is not UTF-8
            raise SzilardError(
                f"{path} is not a table of numbers ({shortened(str(error), 200)}); check the file"
            ) from error
    if not values.size:
        raise SzilardError(f"{folder / file} is empty; download the original again")
    return torch.from_numpy(values)


def _index(folder: Path, file: str, name: str, size: int) -> Tensor:
    values = _numbers(folder, file, name, columns=False).flatten()
    bad = ~((values >= 0) & (values < size) & (values == values.round()))
    if bad.any():
        wrong = float(values[bad][0])
        raise SzilardError(
            f"{folder / file} has the index {wrong:g}, but indices are 0 to {size - 1}; check the file"
        )
    return values.long()
