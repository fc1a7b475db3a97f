"""Kind 0, raw: a tensor stored as its exact bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from szilard.file import dtypes
from szilard.file.decoding import Decoding, Keep, checked_bool, spans
from szilard.file.fields import NO_BITS, Cost, Fields
from szilard.file.records import Record, TensorRecord, Value


@dataclass(frozen=True, eq=False)
class Raw(TensorRecord):
    """A tensor stored as its exact bytes.

    Attributes:
        dtype: PyTorch's name of the type, "int64".
        data: little-endian, in row order.
    """

    data: bytes | memoryview

    def value(self) -> np.ndarray:
        """The tensor in its carrier type (:mod:`szilard.file.dtypes`)."""
        return np.frombuffer(self.data, dtypes.named(self.dtype).carrier).reshape(self.shape).copy()


@dataclass(frozen=True, slots=True)
class RawFields(Fields):
    """Bytes in the raw part. :class:`~szilard.file.kinds.planes.PlanesFields` writes this kind if it is shorter."""

    word: ClassVar[str] = "raw"

    @property
    def raw_bytes(self) -> int:
        """As :attr:`Fields.raw_bytes`."""
        return self.elements * self.type.size

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        if decoding.keep == Keep.NOTHING:
            hash_bytes(self, name, decoding.raw_pieces(self.raw_bytes), decoding)
            return None, NO_BITS
        if decoding.keep == Keep.RECORDS:
            return whole(self, name, decoding.raw(self.raw_bytes), decoding), NO_BITS
        buffer = np.empty(self.raw_bytes, np.uint8)
        decoding.raw_into(buffer)
        return whole(self, name, buffer.data, decoding), NO_BITS


def whole(fields: Fields, name: str, data: bytes | memoryview, decoding: Decoding) -> Record:
    """A tensor made of its bytes, which are not shared.

    Raises:
        Broken: a bool is neither 0 nor 1.
    """
    hash_bytes(fields, name, (data[at:end] for at, end in spans(0, len(data))), decoding)
    if decoding.keep == Keep.VALUES:
        array = np.frombuffer(data, fields.type.carrier).reshape(fields.shape)
        return Value(name, fields.type.name, fields.shape, array)
    return Raw(name, fields.type.name, fields.shape, data)


def hash_bytes(fields: Fields, name: str, pieces: Iterable[bytes | memoryview], decoding: Decoding) -> None:
    """Add a tensor's bytes to the hash.

    Raises:
        Broken: a bool is neither 0 nor 1.
    """
    arrays: Iterator[np.ndarray] = (np.frombuffer(piece, fields.type.carrier) for piece in pieces)
    if fields.type.name == "bool":
        arrays = map(checked_bool, arrays)
    decoding.content.tensor(name, fields.type, fields.shape, arrays)
