"""Small data sets for the networks of the zoo: labels are a random function of the inputs, with noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.case import COMPRESS, JUDGE, TRAIN, Data

N = TRAIN + COMPRESS + JUDGE
NOISE = 0.15
TOKENS, LENGTH = 40, 12


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hidden(features: Tensor, k: int) -> Tensor:
    """k standardised linear maps of features ``[N, ...]``, with a little noise."""
    flat = features.reshape(len(features), -1)
    z = flat @ noise(flat.shape[1], k, seed=7)
    return (z - z.mean(0)) / z.std(0) + NOISE * noise(len(z), k, seed=8)


def classes(x: object, features: Tensor, k: int = 4) -> Data:
    return Data(x, hidden(features, k).argmax(1), "class")


def vectors(width: int = 12, k: int = 4) -> Data:
    x = noise(N, width)
    return classes(x, x, k)


def one_hot(width: int = 12, k: int = 4) -> Data:
    x = noise(N, width)
    return Data(x, F.one_hot(hidden(x, k).argmax(1), k).float(), "class")


def maps(channels: int = 6, length: int = 10) -> Data:
    """``[B, C, L]``; the class depends on the means over L."""
    x = noise(N, channels, length) + 1.5 * noise(N, channels, 1, seed=1)
    return classes(x, x.mean(2))


def images(channels: int = 3, size: int = 8) -> Data:
    """``[B, C, S, S]``."""
    x = noise(N, channels, size, size) + 1.5 * noise(N, channels, 1, 1, seed=1)
    return classes(x, x.mean((2, 3)))


def volumes() -> Data:
    x = noise(N, 2, 6, 6, 6) + 1.5 * noise(N, 2, 1, 1, 1, seed=1)
    return classes(x, x.mean((2, 3, 4)))


def sequences(width: int = 6) -> Data:
    """``[B, T, F]``."""
    x = noise(N, LENGTH, width) + 1.5 * noise(N, 1, width, seed=1)
    return classes(x, x.mean(1))


def tokens(*, padded: bool = False) -> Data:
    """int64 ``[B, T]``; the class depends on the mean of the tokens."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(1, TOKENS, (N, LENGTH), generator=generator)
    if padded:
        length = torch.randint(LENGTH // 2, LENGTH + 1, (N, 1), generator=generator)
        x = torch.where(torch.arange(LENGTH) < length, x, 0)
    return classes(x, F.one_hot(x, TOKENS).float().mean(1)[:, 1:])


def next_tokens() -> Data:
    """The next token of a noisy walk around a ring, int64 ``[B, T]`` each."""
    generator = torch.Generator().manual_seed(4)
    start = torch.randint(TOKENS, (N, 1), generator=generator)
    step = torch.randint(3, (N, 1), generator=generator) + 1
    slips = (torch.rand(N, LENGTH + 1, generator=generator) < 0.03).long().cumsum(1)
    whole = (start + step * torch.arange(LENGTH + 1) + slips) % TOKENS
    return Data(whole[:, :-1], whole[:, 1:], "class")


def quantities(k: int = 1, *, scale: float = 1.0, offset: float = 0.0, flat: bool = False) -> Data:
    """Regression."""
    x = noise(N, 12)
    y = offset + scale * hidden(x.tanh(), k)
    return Data(x, y[:, 0] if flat else y, "regression")


def noisy() -> Data:
    return Data(noise(N, 12), hidden(noise(N, 12), 1)[:, 0], "noisy")


def labels(k: int = 5) -> Data:
    """Several labels for each example, each 0 or 1."""
    x = noise(N, 12)
    return Data(x, (hidden(x, k) > 0).float(), "multilabel")


def binary() -> Data:
    x = noise(N, 12)
    return Data(x, (hidden(x, 1)[:, 0] > 0).float(), "multilabel")


def directions(x: Tensor | None = None, k: int = 8) -> Data:
    """Unit vectors as targets; they are used for training only."""
    x = noise(N, 12) if x is None else x
    return Data(x, hidden(x, k), "embedding", given=False)


def itself(x: Tensor) -> Data:
    """The inputs as targets, for autoencoders, without labels."""
    return Data(x, x, "regression", given=False)


def blobs() -> Data:
    """Images and a class for each pixel."""
    x = F.avg_pool2d(noise(N, 3, 10, 10), 3, 1)
    return Data(x, hidden(x.movedim(1, -1).reshape(-1, 3), 3).argmax(1).reshape(N, 8, 8), "class")
