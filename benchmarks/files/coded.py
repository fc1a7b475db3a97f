"""The result of a contestant of the file benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Coded:
    """Length of a file in bytes, the state dict that its reader returns, and the seconds of writing and reading."""

    n_bytes: int
    state: dict[str, Tensor]
    write_seconds: float
    read_seconds: float


def digest(state: Mapping[str, Tensor]) -> str:
    """Hash of a state dict (names, shapes, dtypes and values), 16 hexadecimal digits."""
    found = hashlib.blake2b(digest_size=8)
    for name, tensor in state.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()
