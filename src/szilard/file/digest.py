"""Hashes of a file's bytes and of its tensors."""

from __future__ import annotations

import contextlib
import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from szilard.file.dtypes import DType
from szilard.file.source import PIECE, Source

CONTENT_BYTES = 16
FILE_BYTES = 8

_ALIAS, _MASK = 254, 255  # in place of a type's code
_EQUAL, _EACH = b"\0", b"\1"
_PIECE = 1 << 14


def of_file(*parts: bytes | memoryview) -> bytes:
    """BLAKE2b of 8 bytes over all parts, which detects damage. It is not a signature."""
    found = hashlib.blake2b(digest_size=FILE_BYTES)
    for part in parts:
        found.update(part)
    return found.digest()


def of_source(source: Source, stop: int) -> bytes:
    """As :func:`of_file`, of the first bytes of a source."""
    found = hashlib.blake2b(digest_size=FILE_BYTES)
    for start in range(0, stop, PIECE):
        found.update(source.take(start, min(start + PIECE, stop)))
    return found.digest()


class Content:
    """BLAKE2b of 16 bytes over the tensors in their order: name, type, shape and values.

    It does not depend on how they are stored. If all entries of a tensor are equal, one of them is hashed, and one bit
    for a full support, so that checking a file that declares a huge one needs no memory.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=CONTENT_BYTES)

    def tensor(self, name: str, dtype: DType, shape: Sequence[int], pieces: Iterable[np.ndarray]) -> None:
        """A tensor in its carrier type, as its entries in row order, piece by piece."""
        with self.open(name, dtype, shape) as entries:
            for piece in pieces:
                entries.update(piece)

    @contextlib.contextmanager
    def open(self, name: str, dtype: DType, shape: Sequence[int]) -> Iterator[Entries]:
        """As :meth:`tensor`, for pieces that are made one by one."""
        self._head(name, dtype.code, shape)
        entries = Entries(self._hash)
        yield entries
        entries.end()

    def constant(self, name: str, dtype: DType, shape: Sequence[int], entry: bytes) -> None:
        """A tensor of equal entries, at least one."""
        self._head(name, dtype.code, shape)
        self._hash.update(_EQUAL + entry)

    def alias(self, name: str, target: int) -> None:
        """A tensor that shares the storage of tensor number ``target``."""
        self._head(name, _ALIAS, [target])

    def mask(self, name: str, shape: Sequence[int], mask: np.ndarray | None) -> None:
        """A support; None if every entry exists."""
        self._head(name, _MASK, shape)
        if mask is None or bool(mask.all()):
            self._hash.update(_EQUAL)
        else:
            self._hash.update(_EACH)
            flat = mask.reshape(-1)
            for start in range(0, flat.size, PIECE):  # a multiple of eight
                self._hash.update(np.packbits(flat[start : start + PIECE], bitorder="little").data)

    def digest(self) -> bytes:
        return self._hash.digest()

    def _head(self, name: str, code: int, shape: Sequence[int]) -> None:
        sizes = struct.pack(f"<{len(shape)}Q", *shape)
        self._hash.update(name.encode() + b"\0" + bytes((code, len(shape))) + sizes)


class Entries:
    """Hashes the entries of one tensor, or only the first if all are equal."""

    def __init__(self, into: hashlib.blake2b) -> None:
        self._hash = into
        self._first: np.ndarray | None = None
        self._alike = 0  # so far, while all of them are equal
        self._differ = False

    def update(self, piece: np.ndarray) -> None:
        """Add the next entries, in the carrier type."""
        entries = _bits(piece)
        if not len(entries):
            return
        if self._first is None:
            self._first = entries[:1].copy()
        if not self._differ:
            if bool((entries == self._first).all()):
                self._alike += len(entries)
                return
            self._differ = True
            self._hash.update(_EACH)
            self._repeat(self._first)
        self._hash.update(entries.data)

    def end(self) -> None:
        """Finish, after the last entry."""
        if self._first is None:
            self._hash.update(_EACH)
        elif not self._differ:
            self._hash.update(_EQUAL + self._first.tobytes())

    def _repeat(self, entry: np.ndarray) -> None:
        """Hash the equal entries so far, without making all of them at once."""
        some = np.repeat(entry, min(self._alike, _PIECE), axis=0)
        for start in range(0, self._alike, _PIECE):
            self._hash.update(some[: min(_PIECE, self._alike - start)].data)


def all_equal(value: np.ndarray) -> bool:
    """Whether all entries of a non-empty array have the same bits."""
    entries = _bits(value)
    # In pieces: most tensors differ in the first piece, and a large constant needs no second array of its size.
    pieces = range(0, len(entries), _PIECE)
    return all(bool((entries[start : start + _PIECE] == entries[0]).all()) for start in pieces)


def _bits(value: np.ndarray) -> np.ndarray:
    """The entries as unsigned integers, ``[n]`` or, of sixteen bytes each, ``[n, 2]``."""
    flat = np.ascontiguousarray(value).reshape(-1)
    if flat.itemsize == 16:
        return flat.view(np.uint64).reshape(-1, 2)
    return flat.view(f"u{flat.itemsize}")
