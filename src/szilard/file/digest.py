"""Hashes: of a file's bytes, and of what it holds."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np

from szilard.file.dtypes import DType

CONTENT_BYTES = 16
FILE_BYTES = 8

_ALIAS, _MASK = 254, 255  # where a type's code stands otherwise
_EQUAL, _EACH = b"\0", b"\1"
_PIECE = 1 << 14


def of_file(data: bytes | memoryview) -> bytes:
    """BLAKE2b of 8 bytes: against damage. It is no signature."""
    return hashlib.blake2b(data, digest_size=FILE_BYTES).digest()


class Content:
    """BLAKE2b of 16 bytes over the tensors in their order: name, type, shape and values.

    It is the same however they are stored. A tensor whose entries are all equal counts by one of them, and a support
    that is full by one bit, so that checking a file that promises a huge one needs no memory.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=CONTENT_BYTES)

    def tensor(self, name: str, dtype: DType, value: np.ndarray) -> None:
        """A tensor in its carrier type."""
        if value.size and all_equal(value):
            self.constant(name, dtype, value.shape, value.reshape(-1)[:1].tobytes())
            return
        self._head(name, dtype.code, value.shape)
        self._hash.update(_EACH)
        self._hash.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)

    def constant(self, name: str, dtype: DType, shape: Sequence[int], entry: bytes) -> None:
        """A tensor of equal entries, of which there is at least one."""
        self._head(name, dtype.code, shape)
        self._hash.update(_EQUAL + entry)

    def alias(self, name: str, target: int) -> None:
        """A tensor that shares the storage of tensor number ``target``."""
        self._head(name, _ALIAS, [target])

    def mask(self, name: str, shape: Sequence[int], mask: np.ndarray | None) -> None:
        """A support; None if every entry exists."""
        self._head(name, _MASK, shape)
        if mask is None:
            self._hash.update(_EQUAL)
        else:
            self._hash.update(_EACH)
            self._hash.update(np.packbits(mask, bitorder="little").data)

    def digest(self) -> bytes:
        return self._hash.digest()

    def _head(self, name: str, code: int, shape: Sequence[int]) -> None:
        sizes = struct.pack(f"<{len(shape)}Q", *shape)
        self._hash.update(name.encode() + b"\0" + bytes((code, len(shape))) + sizes)


def all_equal(value: np.ndarray) -> bool:
    """Whether all entries of an array that has some are the same, bit by bit."""
    entries = np.ascontiguousarray(value).reshape(-1).view(np.uint8).reshape(value.size, -1)
    # In pieces: most tensors are found to differ in the first, and a large constant costs no second of its size.
    pieces = range(0, len(entries), _PIECE)
    return all(bool((entries[start : start + _PIECE] == entries[0]).all()) for start in pieces)
