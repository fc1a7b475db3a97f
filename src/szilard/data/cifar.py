"""CIFAR-10 and CIFAR-100 in their binary layout (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from szilard import bounded
from szilard.data import limits
from szilard.data.check import labels
from szilard.data.dataset import Split
from szilard.data.files import candidates, find, missing
from szilard.errors import SzilardError

_PIXELS = 3 * 32 * 32
_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FOLDERS = {
    "cifar10": ("cifar-10-batches-bin", "cifar10", "cifar-10"),
    "cifar100": ("cifar-100-binary", "cifar100", "cifar-100"),
}
_TRAIN = {"cifar10": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "cifar100": ("train.bin",)}
_TEST = {"cifar10": ("test_batch.bin",), "cifar100": ("test.bin",)}
_LABEL_BYTES = {"cifar10": 1, "cifar100": 2}  # CIFAR-100 has the coarse label first
_N_CLASSES = {"cifar10": 10, "cifar100": 100}
_MOST_NAMES = 1 << 16  # bytes of the list of class names
SETS = tuple(_FOLDERS)


def read(name: str, root: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """Published training and test sets as uint8 ``[N, 3, 32, 32]`` and int64 ``[N]``, and class names."""
    train, test = (_split(name, root, files, itself=True) for files in (_TRAIN[name], _TEST[name]))
    return train, test, _classes(name, root)


def test_images(name: str, root: Path) -> Tensor:
    """The published test images alone, uint8 ``[N, 3, 32, 32]``, for use as out-of-distribution inputs."""
    return _split(name, root, _TEST[name], itself=False).x


def _split(name: str, root: Path, files: tuple[str, ...], *, itself: bool) -> Split:
    folders = candidates(root, _FOLDERS[name], itself=itself)
    xs, ys = [], []
    for file in files:
        path = find(folders, [file])
        if path is None:
            raise missing(name, folders[0], file, fetchable=True)
        values = _bytes(path)
        width = _LABEL_BYTES[name] + _PIXELS
        if not len(values) or len(values) % width:
            raise SzilardError(
                f"{path} is truncated: {len(values)} bytes is not a multiple of the {width} bytes of one image; "
                "download the original again"
            )
        rows = torch.from_numpy(values).view(-1, width)
        y = rows[:, _LABEL_BYTES[name] - 1].long()
        labels(y, _N_CLASSES[name], str(path))
        xs.append(rows[:, _LABEL_BYTES[name] :].reshape(-1, 3, 32, 32))
        ys.append(y)
    return Split(torch.cat(xs), torch.cat(ys))


def _classes(name: str, root: Path) -> tuple[str, ...]:
    if name == "cifar10":
        return _NAMES
    path = find(candidates(root, _FOLDERS[name], itself=True), ["fine_label_names.txt"])
    names = () if path is None else tuple(_names(path).split())
    return names if len(names) == _N_CLASSES[name] else tuple(f"class {i}" for i in range(_N_CLASSES[name]))


def _bytes(path: Path) -> np.ndarray:
    file, size = bounded.open_file(path, "download the original again")
    with file:
        limits.check(path, limits.in_memory((size,), 1, image=True), size)
        try:
            return np.fromfile(file, np.uint8)
        except OSError as error:
            raise SzilardError(f"{path} cannot be read: {error.strerror or error}; check the file") from error


def _names(path: Path) -> str:
    try:
        return bounded.read(path, _MOST_NAMES, "download the original again").decode("utf-8")
    except UnicodeDecodeError as error:
        raise SzilardError(f"{path} is not UTF-8 text; download the original again") from error
