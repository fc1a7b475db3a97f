"""How many pictures a network puts in the right class, and whether two files differ in that."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 500


@dataclass(frozen=True)
class Pictures:
    """Normalised pictures ``[N, C, H, W]``, the classes that count as right, int64 ``[N]``, and whose they are."""

    name: str
    x: Tensor
    y: Tensor

    def first(self, n: int) -> Pictures:
        """Some of them."""
        return Pictures(f"{self.name}, the first {n}", self.x[:n], self.y[:n])


def predictions(network: nn.Module, x: Tensor) -> Tensor:
    """The likeliest class of each picture, int64 ``[N]``; float32, batches of 500."""
    with torch.inference_mode():
        return torch.cat([network(batch).argmax(1) for batch in x.split(BATCH)])


def right(network: nn.Module, pictures: Pictures, limit: int | None = None) -> np.ndarray:
    """Which of the first ``limit`` pictures are put in the right class, bool ``[limit]``."""
    return (predictions(network, pictures.x[:limit]) == pictures.y[:limit]).numpy()


def pack(bits: np.ndarray) -> str:
    """A bool array as a short text, for a line of JSON."""
    return base64.b85encode(np.packbits(bits).tobytes()).decode()


def unpack(text: str, n: int) -> np.ndarray:
    """The first ``n`` bits of what :func:`pack` made, bool ``[n]``."""
    return np.unpackbits(np.frombuffer(base64.b85decode(text), np.uint8))[:n].astype(bool)


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Exact two-sided p-value that networks right on ``a`` and on ``b`` are equally good (McNemar 1947).

    Of the pictures on which just one of the two is right, either should be right on half.
    """
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    n = only_a + only_b
    tail = sum(comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, 2 * tail / 2**n)


def drop_error(before: np.ndarray, after: np.ndarray) -> float:
    """Standard error of the drop in percentage points: only pictures that changed sides add to it."""
    change = before.astype(float) - after.astype(float)
    return 100 * float(change.std()) / len(change) ** 0.5
