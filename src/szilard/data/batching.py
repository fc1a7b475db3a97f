"""Shuffled batches; the order depends only on (seed, epoch)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from szilard.data.augment import crop_flip
from szilard.data.dataset import Split
from szilard.data.seeds import generator
from szilard.errors import SzilardError


def n_batches(n: int, batch_size: int, world: int = 1) -> int:
    """Number of batches that each process gets from ``n`` examples in one epoch; :func:`batches` describes the last."""
    return len(sizes(n, batch_size, world))


def sizes(n: int, batch_size: int, world: int = 1) -> list[int]:
    """Number of examples in each batch of one of ``world`` processes.

    If one example remains at the end, it is added to the batch before:
    BatchNorm cannot train on one example, and its gradient would count as much as that of a whole batch.
    """
    full, rest = divmod(math.ceil(n / world), batch_size)
    if rest == 1 and full and batch_size > 1:
        return [batch_size] * (full - 1) + [batch_size + 1]
    return [batch_size] * full + ([rest] if rest else [])


def batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    augment: str | None = None,
    start: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over every example once, in an order given by (seed, epoch), the same on every machine.

    Args:
        split: the examples; batches are made on its device.
        batch_size: examples per batch **of one process**; the last batch can be shorter, and a single remaining
            example is added to the batch before.
        seed, epoch: determine the order and the augmentation.
        rank, world: number of this process, and number of processes. Every process gets the same number of examples:
            if ``n`` is not divisible by ``world``, the first few examples of the order occur twice in this epoch.
        augment: None, or "crop-flip" for images (see :func:`szilard.data.augment.crop_flip`).
        start: number of batches to skip when an epoch is resumed; the others do not change.

    Yields:
        ``x [B, *input_shape]``, ``y [B]``, or ``[B, H, W]`` with a class for each pixel.
    """
    if batch_size < 1:
        raise SzilardError(f"batch_size must be at least 1, not {batch_size}")
    if not 0 <= rank < world:
        raise SzilardError(f"rank must be in [0, world), but rank is {rank} and world is {world}")
    if augment not in (None, "crop-flip"):
        raise SzilardError(f"augment must be None or 'crop-flip', not {augment!r}")
    if augment and split.x.dim() != 4:
        raise SzilardError("augment='crop-flip' is for images, and these inputs are features; leave it out")
    if augment and split.y.dim() > 1:
        raise SzilardError(
            "augment='crop-flip' would move images but not the labels of their pixels; leave it out"
        )
    return _batches(split, batch_size, seed, epoch, rank, world, augment, start)


def _batches(
    split: Split,
    batch_size: int,
    seed: int,
    epoch: int,
    rank: int,
    world: int,
    augment: str | None,
    start: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    n = len(split)
    order = torch.randperm(n, generator=generator("shuffle", seed, epoch))
    share = math.ceil(n / world)
    mine = order[torch.arange(rank, share * world, world) % n].to(split.x.device)
    for number, index in enumerate(mine.split(sizes(share, batch_size))):
        if number < start:
            continue
        x = split.x[index]
        if augment:
            # One generator per batch, so that a resumed epoch draws the same numbers as an uninterrupted one.
            x = crop_flip(x, generator("augment", seed, epoch, rank, number))
        yield x, split.y[index]
