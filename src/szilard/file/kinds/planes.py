"""Kind 1, planes: the exact bytes of a tensor, sorted by their position in the entry and deflated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from szilard.file import deflate, dtypes
from szilard.file.cursor import Cursor, varints
from szilard.file.decoding import Decoding
from szilard.file.encoding import Encoding, size_of
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import NO_BITS, Cost, Fields, Row
from szilard.file.kinds.raw import Raw, RawFields, whole
from szilard.file.limits import MOST_ELEMENTS
from szilard.file.records import Record
from szilard.file.source import PIECE

_ENTRY = 2  # approximate bytes of the table for the length of planes


@dataclass(frozen=True, slots=True)
class PlanesFields(Fields):
    """The fields of planes, which are in the raw part.

    Attributes:
        stored: bytes of the deflated planes.
    """

    stored: int = 0

    word: ClassVar[str] = "raw"
    record: ClassVar[type[Record]] = Raw

    @property
    def raw_bytes(self) -> int:
        """As :attr:`Fields.raw_bytes`."""
        return self.stored

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """As :meth:`Fields.put_columns`."""
        return varints(fields.stored for fields in table)

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """As :meth:`Fields.take_columns`."""
        for row in rows:
            row["stored"] = cursor.varint(MOST_ELEMENTS * 16)

    @classmethod
    def encode(cls, record: Raw, encoding: Encoding) -> tuple[Fields, Cost]:
        """As :meth:`Fields.encode`; as kind 0 if that is not longer."""
        dtype = dtypes.named(record.dtype)
        size = size_of(record.name, record.shape) * dtype.size
        if len(record.data) != size:
            raise SzilardFileError(
                f"{record.name} has {len(record.data)} bytes and its shape needs {size}; fix the record"
            )
        encoding.content.tensor(record.name, dtype, record.shape, [record.value()])
        planes = pack(bytes(record.data), dtype.size)
        if len(planes) + _ENTRY < size:
            encoding.raw.append(planes)
            return cls(dtype, record.shape, stored=len(planes)), NO_BITS
        encoding.raw.append(bytes(record.data))
        return RawFields(dtype, record.shape), NO_BITS

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        entries = unpack(decoding.raw(self.stored), self.elements, self.type.size)
        return whole(self, name, entries.reshape(-1).data, decoding), NO_BITS


def pack(data: bytes, size: int) -> bytes:
    """The planes of entries of ``size`` bytes, deflated: exponents of floats are similar, last digits are not."""
    return deflate.compress(np.frombuffer(data, np.uint8).reshape(-1, size).T.tobytes())


def unpack(block: bytes | memoryview, count: int, size: int) -> np.ndarray:
    """Undo :func:`pack` for a tensor of ``count`` entries, uint8 ``[count, size]``; piece by piece of each plane.

    Raises:
        Broken: there are fewer entries.
    """
    if count * size > deflate.MOST_GROWTH * len(block):
        raise Broken("the shape of a tensor is larger than its part of the file can hold")
    inflater = deflate.Inflater(block, "a tensor")
    entries = np.empty((count, size), np.uint8)
    for place in range(size):
        for start in range(0, count, PIECE):
            buffer = entries[start : start + PIECE, place]
            piece = inflater.take(len(buffer))
            if len(piece) != len(buffer):
                raise Broken("a tensor has fewer bytes than its shape needs")
            buffer[:] = np.frombuffer(piece, np.uint8)
    inflater.end()
    return entries
