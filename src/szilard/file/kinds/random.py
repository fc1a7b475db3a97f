"""Kind 7, random: one draw of a Gaussian posterior, as numbers of candidates in the raw part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from szilard.file import dtypes, random
from szilard.file.cursor import Cursor, varints
from szilard.file.decoding import Decoding, Keep
from szilard.file.encoding import Encoding, size_of
from szilard.file.error import Broken, SzilardFileError
from szilard.file.fields import NO_BITS, Cost, Fields, Row, SteppedFields
from szilard.file.quantised import Levels, check_step, check_type, keep_levels
from szilard.file.records import Record, TensorRecord

MOST_RANDOM = 1 << 21  #: entries of one such tensor
MOST_BLOCK = 256  #: entries of a block of it
INDEX_BITS = 8, 20  #: fewest and most
_MOST_SEED = (1 << 32) - 1


@dataclass(frozen=True, eq=False)
class Random(TensorRecord):
    """One draw of a Gaussian posterior, by minimal random coding (Havasi, Peharz and Hernández-Lobato 2019).

    The entries are in blocks, in an order given by the seed. For each block the file has the number of one of
    ``2^bits`` candidates, which are draws from N(0, s²) with s = 295.6 * step given by the seed
    (:mod:`szilard.file.random`). A draw is a level, and value = level * step, rounded to float32.

    Attributes:
        dtype: as of :class:`Levels`.
        indices: unsigned integers ``[blocks]``, below ``2^bits``.
        step: code of the step.
        seed: below 2^32.
        bits: of an index, from 8 to 20.
        size: entries of a block, from 1 to 256; the last can have fewer.
    """

    indices: np.ndarray
    step: int
    seed: int
    bits: int
    size: int

    def levels(self) -> np.ndarray:
        """The chosen candidates as levels, int32 of the shape."""
        return random.draw(math.prod(self.shape), self.size, self.indices, self.seed).reshape(self.shape)

    def value(self) -> np.ndarray:
        """As :meth:`~szilard.file.kinds.raw.Raw.value`."""
        return Levels(self.name, self.dtype, self.shape, self.levels(), self.step).value()


@dataclass(frozen=True, slots=True)
class RandomFields(SteppedFields):
    """How the candidates are made; the numbers of the chosen ones are in the raw part.

    Attributes:
        seed, size, bits: as of :class:`Random`.
    """

    seed: int = 0
    size: int = 0
    bits: int = 0

    word: ClassVar[str] = "random"
    record: ClassVar[type[Record]] = Random

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.elements // self.size)

    @property
    def raw_bytes(self) -> int:
        """As :attr:`Fields.raw_bytes`."""
        return (self.blocks * self.bits + 7) // 8

    @property
    def decisions(self) -> int:
        """As :attr:`Fields.decisions`: drawing an entry takes about half the time of one."""
        return self.elements // 2

    @classmethod
    def put_columns(cls, table: Sequence[Self]) -> bytes:
        """As :meth:`Fields.put_columns`."""
        return b"".join(
            varints(getattr(fields, what) for fields in table) for what in ("seed", "size", "bits")
        )

    @classmethod
    def take_columns(cls, rows: Sequence[Row], cursor: Cursor) -> None:
        """As :meth:`Fields.take_columns`."""
        for what, most in (("seed", _MOST_SEED), ("size", MOST_BLOCK), ("bits", INDEX_BITS[1])):
            for row in rows:
                row[what] = cursor.varint(most)

    def check(self) -> None:
        """As :meth:`Fields.check`."""
        if not (self.size and self.bits >= INDEX_BITS[0] and 0 < self.elements <= MOST_RANDOM):
            raise Broken("a tensor of random levels has invalid fields")

    @classmethod
    def encode(cls, record: Random, encoding: Encoding) -> tuple[Fields, Cost]:
        """As :meth:`Fields.encode`."""
        dtype = _checked(record)
        encoding.hash(record.name, dtype, record.shape, [record.value()])
        encoding.raw.append(random.pack(record.indices, record.bits))
        fields = cls(dtype, record.shape, record.step, seed=record.seed, size=record.size, bits=record.bits)
        return fields, NO_BITS

    def decode(self, name: str, decoding: Decoding) -> tuple[Record | None, Cost]:
        """As :meth:`Fields.decode`."""
        indices = random.unpack(bytes(decoding.raw(self.raw_bytes)), self.blocks, self.bits)
        if indices is None:
            raise Broken("a tensor of random levels has bits left over")
        if self.type.size < 4 and self.bits <= 16:  # with blocks of one entry, indices can be larger than it
            indices = indices.astype(np.uint16)
        record = Random(name, self.type.name, self.shape, indices, self.step, self.seed, self.bits, self.size)
        found = keep_levels(Levels(name, record.dtype, record.shape, record.levels(), record.step), decoding)
        return (found if decoding.keep == Keep.VALUES else record), NO_BITS


def _checked(record: Random) -> dtypes.DType:
    dtype = dtypes.named(record.dtype)
    check_type(record.name, dtype, "random levels")
    count = size_of(record.name, record.shape)
    fewest, most = INDEX_BITS
    if not (0 < count <= MOST_RANDOM and 1 <= record.size <= MOST_BLOCK and fewest <= record.bits <= most):
        raise SzilardFileError(
            f"{record.name} must have 1 to {MOST_RANDOM} entries, in blocks of 1 to {MOST_BLOCK}, and indices of "
            f"{fewest} to {most} bits; fix the record"
        )
    indices = record.indices
    if indices.shape != (-(-count // record.size),) or not np.issubdtype(indices.dtype, np.unsignedinteger):
        raise SzilardFileError(f"{record.name} must have one unsigned index for each block; fix the record")
    if int(indices.max()) >> record.bits or not 0 <= record.seed < 1 << 32:
        raise SzilardFileError(f"an index or the seed of {record.name} is too large; fix the record")
    check_step(record.name, record.step)
    return dtype
