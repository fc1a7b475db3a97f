"""Kind 2, constant: a tensor of equal entries, stored as one entry in the table of fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from szilard.file import dtypes
from szilard.file.cursor import Cursor
from szilard.file.decoding import Decoding
from szilard.file.encoding import Encoding, size_of
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import NO_BITS, Cost, Fields, Row
from szilard.file.records import Record, TensorRecord


@dataclass(frozen=True, eq=False)
class Constant(TensorRecord):
    """A tensor of equal entries.

    Attributes:
        data: bytes of one entry.
    """

    data: bytes

    def value(self) -> np.ndarray:
        """As :meth:`~szilard.file.kinds.raw.Raw.value`."""
        one = np.frombuffer(self.data, dtypes.named(self.dtype).carrier)
        return np.broadcast_to(one.reshape((1,) * len(self.shape)), self.shape).copy()


@dataclass(frozen=True, slots=True)
class ConstantFields(Fields):
    """The fields of a constant: one entry.

    Attributes:
        data: its bytes.
    """

    data: bytes = b""

    word: ClassVar[str] = "constant"
    record: ClassVar[type[Record]] = Constant

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """As :meth:`Fields.put_columns`."""
        return b"".join(fields.data for fields in table)

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """As :meth:`Fields.take_columns`."""
        for row in rows:
            row["data"] = cursor.take(row["dtype"].size)

    def check(self) -> None:
        """As :meth:`Fields.check`."""
        if not self.elements:
            raise Broken("an empty tensor is stored as a constant")

    @classmethod
    def encode(cls, record: Constant, encoding: Encoding) -> tuple[Fields, Cost]:
        """As :meth:`Fields.encode`."""
        dtype = dtypes.named(record.dtype)
        if not size_of(record.name, record.shape) or len(record.data) != dtype.size:
            raise SzilardFileError(
                f"the constant {record.name} is empty or has no entry of its type; store it raw"
            )
        encoding.content.constant(record.name, dtype, record.shape, record.data)
        return cls(dtype, record.shape, data=record.data), NO_BITS

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`; a huge one is only made after the hash has been checked."""
        if self.type.name == "bool" and self.data not in (b"\0", b"\1"):
            raise Broken("a bool tensor has a value other than 0 and 1")
        decoding.content.constant(name, self.type, self.shape, self.data)
        return Constant(name, self.type.name, self.shape, self.data), NO_BITS
