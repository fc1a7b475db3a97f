"""Download a known data set with torchvision, if that is installed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from szilard.errors import SzilardError

_TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}


def download(name: str, root: Path) -> None:
    """Put the files of a data set under ``root``, where the readers look.

    torchvision verifies the checksums. It downloads CIFAR as pickles, which Szilard does not read: torchvision reads
    them, and they are written again in the binary layout.

    Raises:
        SzilardError: torchvision is not installed, or the download fails.
    """
    if name not in _TORCHVISION:
        raise SzilardError(f"{name} cannot be downloaded; only {', '.join(_TORCHVISION)} can")
    try:
        from torchvision import datasets  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise SzilardError(
            f"downloading {name} needs torchvision, which is not installed; run pip install torchvision, "
            f"or put the files into {root} yourself"
        ) from error
    kind = getattr(datasets, _TORCHVISION[name])
    try:
        train, test = (kind(str(root), train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise SzilardError(
            f"{name} could not be downloaded: {error}; try again, or download the files by hand"
        ) from error
    if name == "cifar10":
        folder = root / "cifar-10-batches-bin"
        for i, rows in enumerate(np.array_split(_rows(train, 1), 5)):
            _write(folder / f"data_batch_{i + 1}.bin", rows)
        _write(folder / "test_batch.bin", _rows(test, 1))
    elif name == "cifar100":
        folder = root / "cifar-100-binary"
        _write(folder / "train.bin", _rows(train, 2))
        _write(folder / "test.bin", _rows(test, 2))
        (folder / "fine_label_names.txt").write_text("\n".join(train.classes) + "\n")


def _rows(part: object, label_bytes: int) -> np.ndarray:
    """``[N, label_bytes + 3072]`` bytes; coarse labels are 0, because Szilard does not read them."""
    images = np.asarray(part.data).transpose(0, 3, 1, 2).reshape(len(part.data), -1)  # type: ignore[attr-defined]
    labels = np.zeros((len(images), label_bytes), np.uint8)
    labels[:, -1] = part.targets  # type: ignore[attr-defined]
    return np.concatenate([labels, images.astype(np.uint8)], axis=1)


def _write(path: Path, rows: np.ndarray) -> None:
    """Write atomically: a partly written file would stay and be reported as truncated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    rows.tofile(partial)
    os.replace(partial, path)
