"""Accuracy of a network, and a significance test for the difference between two files."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 500


@dataclass(frozen=True)
class Images:
    """Normalised images ``[N, C, H, W]``, their correct classes, int64 ``[N]``, and the name of the data set."""

    name: str
    x: Tensor
    y: Tensor

    def first(self, n: int) -> Images:
        """The first ``n`` images."""
        return Images(f"{self.name}, the first {n}", self.x[:n], self.y[:n])


def predictions(network: nn.Module, x: Tensor) -> Tensor:
    """The predicted class of each image, int64 ``[N]``; computed in float32, in batches of 500."""
    with torch.inference_mode():
        return torch.cat([network(batch).argmax(1) for batch in x.split(BATCH)])


def right(network: nn.Module, images: Images, limit: int | None = None) -> np.ndarray:
    """Which of the first ``limit`` images are classified correctly, bool ``[limit]``."""
    return (predictions(network, images.x[:limit]) == images.y[:limit]).numpy()


def pack(bits: np.ndarray) -> str:
    """A bool array as a short text, for a line of JSON."""
    return base64.b85encode(np.packbits(bits).tobytes()).decode()


def unpack(text: str, n: int) -> np.ndarray:
    """The first ``n`` bits of the result of :func:`pack`, bool ``[n]``."""
    return np.unpackbits(np.frombuffer(base64.b85decode(text), np.uint8))[:n].astype(bool)


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p-value of equal accuracy of two networks, correct on ``a`` and on ``b`` (McNemar 1947).

    Under the null hypothesis, each network is correct on half of the images on which exactly one of them is correct.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n = only_a + only_b
    tail = sum(comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def drop_error(before: np.ndarray, after: np.ndarray) -> float:
    """Standard error of the drop in percentage points; only images whose correctness changed contribute."""
    change = before.astype(float) - after.astype(float)
    return 100 * float(change.std()) / len(change) ** 0.5
