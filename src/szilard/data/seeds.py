"""Random generators by purpose: different purposes never share random numbers."""

from __future__ import annotations

import hashlib

import torch


def generator(purpose: str, *numbers: int) -> torch.Generator:
    """A CPU generator seeded by a hash of ``purpose`` and ``numbers``, the same on every machine.

    Nearby numbers give independent streams, for instance (seed 0, epoch 1) and (seed 1, epoch 0).
    """
    digest = hashlib.blake2b(repr((purpose, *numbers)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
