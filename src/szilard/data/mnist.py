"""MNIST (LeCun et al. 1998), Fashion-MNIST (Xiao et al. 2017), Kuzushiji-MNIST (Clanuwat et al. 2018)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from szilard.data.check import labels
from szilard.data.dataset import Split
from szilard.data.files import candidates, find, missing
from szilard.data.idx import read_idx
from szilard.data.npz import read_npz, to_tensor
from szilard.errors import SzilardError

SETS: dict[str, tuple[str, ...]] = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
_FOLDERS = {
    "mnist": ("mnist",),
    "fashion-mnist": ("fashion_mnist",),
    "kmnist": ("kmnist", "ood"),
}
_IDX = {
    ("train", "imgs"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "imgs"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def read(name: str, root: Path) -> tuple[Split, Split, tuple[str, ...]]:
    """Published training and test sets as uint8 ``[N, 1, H, W]`` and int64 ``[N]``, and class names."""
    train, test = (
        Split(_images(_file(name, root, part, "imgs", itself=True)), _labels(name, root, part))
        for part in ("train", "test")
    )
    return train, test, SETS[name]


def test_images(name: str, root: Path) -> Tensor:
    """The published test images alone, uint8 ``[N, 1, H, W]``, for use as out-of-distribution inputs."""
    return _images(_file(name, root, "test", "imgs", itself=False))


def _file(name: str, root: Path, part: str, kind: str, *, itself: bool) -> Path:
    folders = candidates(root, _FOLDERS[name], itself=itself)
    folders = [
        inner for folder in folders for inner in (folder, folder / "raw")
    ]  # raw/: torchvision's layout
    stem = _IDX[part, kind]
    names = [f"{stem}.gz", stem]
    if name == "kmnist":
        names.append(f"kmnist-{part}-{kind}.npz")
    path = find(folders, names)
    if path is None:
        raise missing(name, folders[0], names[0], fetchable=True)
    return path


def _array(path: Path) -> Tensor:
    if path.suffix != ".npz":
        return read_idx(path)
    arrays = read_npz(path)
    if len(arrays) != 1:
        raise SzilardError(f"{path} has {len(arrays)} arrays instead of one; download the original again")
    return to_tensor(next(iter(arrays.values())), str(path))


def _images(path: Path) -> Tensor:
    x = _array(path)
    if x.dim() != 3 or x.dtype != torch.uint8:
        raise SzilardError(
            f"{path} has shape {list(x.shape)} and type {x.dtype}, but images are bytes [N, H, W]; check the file"
        )
    return x.unsqueeze(1)


def _labels(name: str, root: Path, part: str) -> Tensor:
    path = _file(name, root, part, "labels", itself=True)
    y = _array(path).long()
    if y.dim() != 1:
        raise SzilardError(f"{path} has shape {list(y.shape)}, but labels are [N]; check the file")
    labels(y, len(SETS[name]), str(path))
    return y
