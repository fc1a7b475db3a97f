"""Two kinds of records with numbers above 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import file_tools
import numpy as np

from szilard.file import Alias, Document, Levels, Mask, Product, Raw, dtypes
from szilard.file.cursor import Cursor, zigzags
from szilard.file.decoding import Decoding, Keep
from szilard.file.encoding import Encoding, size_of
from szilard.file.error import Broken
from szilard.file.fields import NO_BITS, Cost, Fields, Row, SteppedFields
from szilard.file.quantised import keep_levels
from szilard.file.records import Record, TensorRecord, Value

FLOAT32, INT64 = dtypes.named("float32"), dtypes.named("int64")


@dataclass(frozen=True, eq=False)
class Ramp(TensorRecord):
    """An arithmetic sequence of integers, stored in columns of its own."""

    first: int
    rise: int

    def value(self) -> np.ndarray:
        count = int(np.prod(self.shape))
        return (self.first + self.rise * np.arange(count, dtype="<i8")).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class RampFields(Fields):
    first: int = 0
    rise: int = 0

    word: ClassVar[str] = "ramp"
    record: ClassVar[type[Record]] = Ramp

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        return zigzags(n for fields in table for n in (fields.first, fields.rise))

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        for row in rows:
            row["first"], row["rise"] = cursor.zigzag(1 << 20), cursor.zigzag(1 << 20)

    def check(self) -> None:
        if self.type != INT64 or self.elements > 1 << 20:
            raise Broken("a ramp is none")

    @classmethod
    def encode(cls, record: Ramp, encoding: Encoding) -> tuple[Fields, Cost]:
        size_of(record.name, record.shape)
        encoding.content.tensor(record.name, INT64, record.shape, [record.value()])
        return cls(INT64, record.shape, record.first, record.rise), NO_BITS

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        record = Ramp(name, "int64", self.shape, self.first, self.rise)
        value = record.value()
        decoding.content.tensor(name, INT64, self.shape, [value])
        return (Value(name, "int64", self.shape, value) if decoding.keep == Keep.VALUES else record), NO_BITS


@dataclass(frozen=True, eq=False)
class Signs(TensorRecord):
    """Levels with their magnitudes in the adaptive stream, their signs in the raw part, and a step."""

    levels: np.ndarray
    step: int

    def value(self) -> np.ndarray:
        return Levels(self.name, self.dtype, self.shape, self.levels, self.step).value()


@dataclass(frozen=True, slots=True)
class SignsFields(SteppedFields):
    word: ClassVar[str] = "signs"
    record: ClassVar[type[Record]] = Signs

    @property
    def symbols(self) -> int:
        return self.elements

    @property
    def raw_bytes(self) -> int:
        return -(-self.elements // 8)

    @classmethod
    def encode(cls, record: Signs, encoding: Encoding) -> tuple[Fields, Cost]:
        flat = record.levels.reshape(-1)
        encoding.hash(record.name, FLOAT32, record.shape, [record.value()])
        encoding.raw.append(np.packbits(flat < 0).tobytes())
        return cls(FLOAT32, record.shape, record.step), (encoding.adaptive.levels(abs(flat)), 0.0)

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        before = decoding.adaptive.bits
        sizes = decoding.adaptive.levels(1, self.elements)[0]
        bits = np.unpackbits(np.frombuffer(decoding.raw(self.raw_bytes), np.uint8), count=self.elements)
        levels = (sizes * np.where(bits, -1, 1)).astype(np.int32).reshape(self.shape)
        cost = decoding.adaptive.bits - before, 0.0
        found = keep_levels(Levels(name, "float32", self.shape, levels, self.step), decoding)
        if decoding.keep != Keep.RECORDS:
            return found, cost
        return Signs(name, "float32", self.shape, levels, self.step), cost


RAMP, SIGNS = 8, 300  # SIGNS takes two bytes


def document() -> Document:
    """A document with both kinds and others."""
    levels = file_tools.numbers(1, 5, 7)
    return Document(
        [
            Levels("a", "float32", (4, 6), file_tools.numbers(2, 4, 6), -40),
            Ramp("position_ids", "int64", (1, 40), 3, -2),
            Mask("m", (5, 7), levels > 0),
            Signs("signs", "float32", (5, 7), levels, -70),
            Raw("raw", "uint8", (3,), b"\1\2\3"),
            Alias("again", "position_ids"),
            Levels("b", "bfloat16", (9,), file_tools.numbers(3, 9), -55),
            Product("p", "float32", (2, 2), np.array([[1, 0], [-3, 2]]), np.array([[[5, 1], [0, 7]]]), 0),
        ],
        {"classes": ["a", "b"]},
    )
