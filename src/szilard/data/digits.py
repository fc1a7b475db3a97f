"""Handwritten digits 8 x 8, part of scikit-learn: needs no download."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from szilard.data.dataset import Split
from szilard.data.raw import Raw, Request
from szilard.data.splits import split_indices, subset


def read_digits(request: Request) -> Raw:
    """1797 images ``[N, 1, 8, 8]`` (Alpaydin & Kaynak 1998); train/validation/test split of 60/20/20 %, by seed."""
    x, y = _digits()
    train, valid, test = split_indices(y, (0.2, 0.2), request.seed, stratify=True)
    train = train[subset(y[train], request.n_train, request.seed, balanced=True)]
    return Raw(
        task="classification",
        train=Split(x[train], y[train]),
        valid=Split(x[valid], y[valid]),
        test=Split(x[test], y[test]),
        classes=tuple("0123456789"),
    )


@functools.cache
def _digits() -> tuple[Tensor, Tensor]:
    """Images and classes; scikit-learn parses a text file for them, which is done once a process."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16  # grey values are 0 to 16
    return x, torch.tensor(bunch.target, dtype=torch.int64)
